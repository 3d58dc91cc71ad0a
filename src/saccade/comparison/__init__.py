"""Comparisons: many runs paired by seed, and the claims they allow."""
