"""Student's t agrees with scipy, and with the arctangent where scipy loses digits."""

import math

import numpy as np
import pytest
from scipy import special, stats

from saccade.comparison.student import incomplete_beta, quantile, two_sided


@pytest.mark.parametrize("df", [1, 1.5, 2, 3, 6, 12, 32, 72, 1000, 10_000])
def test_p_value_agrees_with_scipy(df):
    t = np.concatenate([[0.0], np.logspace(-3, 4, 300)])
    np.testing.assert_allclose(two_sided(t, df), 2 * stats.t.sf(t, df), rtol=1e-9, atol=1e-10)
    np.testing.assert_array_equal(two_sided(-t, df), two_sided(t, df))


def test_p_value_of_one_degree_of_freedom_is_an_arctangent():
    t = np.logspace(-9, 3, 100)
    np.testing.assert_allclose(two_sided(t, 1), 1 - 2 / math.pi * np.arctan(t), rtol=0, atol=1e-15)


@pytest.mark.parametrize("df", [1, 2, 4, 6, 8, 24, 72, 10_000])
@pytest.mark.parametrize("probability", [0.001, 0.3, 0.5, 0.6, 0.975, 1 - 0.025 / 3, 1 - 0.025 / 8, 1 - 1e-6])
def test_quantile_agrees_with_scipy(probability, df):
    assert quantile(probability, df) == pytest.approx(stats.t.ppf(probability, df), rel=1e-10, abs=1e-12)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (3, 0.5), (0.5, 3), (2, 7), (40, 25)])
def test_incomplete_beta_agrees_with_scipy(a, b):
    x = np.linspace(0, 1, 101)
    np.testing.assert_allclose(incomplete_beta(x, 1 - x, a, b), special.betainc(a, b, x), rtol=0, atol=1e-12)
