"""Student's t distribution, for whole arrays and without scipy.

Source: the incomplete beta function as a continued fraction, NIST Digital Library of Mathematical Functions, 8.17.22.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_TERMS = 100  # of the fraction; the tests hold it to 1e-10 for degrees of freedom up to 10,000


def two_sided(t: ArrayLike, df: float) -> Floats:
    r"""The two-sided p value, the probability of a value at least as far from 0 as `t`.

    .. math:: p = I_x(\nu / 2, 1 / 2), \quad x = \nu / (\nu + t^2)

    Args:
        t: Finite, any shape.
        df: Degrees of freedom, nu; above 0, need not be whole.
    """
    square = np.square(np.asarray(t, dtype=np.float64))
    return incomplete_beta(df / (df + square), square / (df + square), df / 2, 0.5)


def quantile(probability: float, df: float) -> float:
    """The t that a Student variable stays below with `probability`, which lies strictly between 0 and 1."""
    if probability < 0.5:
        return -quantile(1 - probability, df)
    log_peak = -_log_beta(df / 2, 0.5) - math.log(df) / 2
    t, step = 0.0, 1.0
    # Right of 0 the upper tail is convex and falling, so Newton's steps from 0 stop short of the solution, all of them.
    while step > 1e-13 * t:
        density = math.exp(log_peak - (df + 1) / 2 * math.log1p(t * t / df))
        step = (float(two_sided(t, df)) / 2 - (1 - probability)) / density
        t += step
    return t


def incomplete_beta(x: ArrayLike, rest: ArrayLike, a: float, b: float) -> Floats:
    """The regularised incomplete beta function I_x(a, b), for any shape of x.

    Args:
        x: Number from 0 to 1.
        rest: 1 - x, asked for because the caller can often give it without cancellation.
        a: Above 0.
        b: Above 0.
    """
    x, rest = np.asarray(x, dtype=np.float64), np.asarray(rest, dtype=np.float64)
    near = x <= (a + 1) / (a + b + 2)  # there the fraction converges fast; elsewhere I_x(a, b) = 1 - I_{1-x}(b, a)
    below = _by_fraction(np.where(near, x, 0.0), np.where(near, rest, 1.0), a, b)
    above = 1 - _by_fraction(np.where(near, 0.0, rest), np.where(near, 1.0, x), b, a)
    return np.where(near, below, above)


def _by_fraction(x: Floats, rest: Floats, a: float, b: float) -> Floats:
    """x^a (1 - x)^b / (a B(a, b)) over the fraction 1 + d1 x / (1 + d2 x / (1 + ...)), from its far end."""
    fraction = np.ones_like(x)
    for term in range(_TERMS, 0, -1):
        m = term // 2
        if term % 2:
            factor = -(a + m) * (a + b + m) / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            factor = m * (b - m) / ((a + 2 * m - 1) * (a + 2 * m))
        fraction = 1 + factor * x / fraction
    return math.exp(-_log_beta(a, b)) / a * x**a * rest**b / fraction


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
