"""Triton kernels for NVIDIA and AMD graphics cards; each equals a function of :mod:`saccade.ops`, which is its test.

Modules here import triton, so they are imported only if :func:`saccade.ops.tune` has chosen them.
"""
