"""Judging and using segmentation networks: the papers' protocols, their metrics, and pictures of predictions."""
