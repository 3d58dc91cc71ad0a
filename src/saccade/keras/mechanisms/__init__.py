"""The mechanisms as Keras layers, one file for each paper, under the names of :mod:`saccade.mechanisms`."""
