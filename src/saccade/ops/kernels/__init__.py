"""Triton kernels, for NVIDIA and AMD graphics cards; each equals a function of :mod:`saccade.ops`, which is its test.

A module here imports triton, so it is imported where :func:`saccade.ops.tune` has chosen it, and nowhere else.
"""
