"""Quantiles and tails against reference values, and against each other."""

from math import exp, inf, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.analysis import distributions
from crawler.analysis.distributions import (
    beta_tails,
    binomial_tails,
    f_tails,
    gamma_quantile,
    gamma_tails,
    poisson_tails,
)

# Computed with mpmath at 50 digits; SciPy agrees to 12 digits or more.
CHI_SQUARE = [
    (0.5, 0.01, 1.34993958591169e-8),
    (1, 0.025, 0.000982069117175256),
    (1, 0.975, 5.02388618731489),
    (2, 0.5, 1.38629436111989),
    (8, 0.025, 2.17973074725265),
    (8, 0.975, 17.5345461394847),
    (16, 0.001, 3.94162784348073),
    (100, 0.025, 74.2219274749237),
    (100, 0.975, 129.561197185837),
    (800, 0.025, 723.512593262287),
    (800, 0.975, 880.275336893151),
    (2000, 0.999, 2201.15619658663),
]
F = [
    (16, 800, 0.001, 0.244817064727419),
    (16, 800, 0.975, 1.8195988752277),
    (2, 10, 0.95, 4.1028210151304),
    (1, 1, 0.5, 1.0),
    (5, 2, 0.025, 0.118573034156532),
    (40, 40, 0.999, 2.72681593090288),
]
BETA = [
    (0.5, 0.5, 0.1, 0.0244717418524232),
    (2, 3, 0.5, 0.38572756813239),
    (400, 1601, 0.025, 0.182669297918448),
    (400, 1601, 0.975, 0.217698969505243),
    (3, 200, 0.001, 0.000947486296379172),
]
GAMMA_TAILS = [
    (0.01, 0.5, 0.994373243806033, 0.00562675619396718),
    (1, 1e-8, 9.99999995e-9, 0.99999999),
    (8, 1, 1.02491966746417e-5, 0.999989750803325),
    (8, 40, 0.999999999833599, 1.66400954442965e-10),
    (400, 300, 2.20665201428845e-8, 0.99999997793348),
    (400, 520, 0.999999981374767, 1.86252327167857e-8),
    (2000, 2400, 1.0, 1.93974843112167e-17),
    (10000, 10200, 0.976712677866401, 0.0232873221335988),
    (1000000, 1002000, 0.97719590410123, 0.0228040958987699),
]


@pytest.mark.parametrize(("degrees", "share", "value"), CHI_SQUARE)
def test_quantiles_of_gamma(degrees, share, value):
    assert 2 * gamma_quantile(degrees / 2, share) == pytest.approx(value, rel=1e-9)
    assert gamma_tails(degrees / 2, value / 2)[0] == pytest.approx(share, rel=1e-9)


@pytest.mark.parametrize(("d1", "d2", "share", "value"), F)
def test_tails_of_f(d1, d2, share, value):
    assert f_tails(d1, d2, value)[0] == pytest.approx(share, rel=1e-9)


@pytest.mark.parametrize(("a", "b", "share", "value"), BETA)
def test_tails_of_beta(a, b, share, value):
    assert beta_tails(a, b, value)[0] == pytest.approx(share, rel=1e-9)


@pytest.mark.parametrize(("shape", "x", "below", "above"), GAMMA_TAILS)
def test_both_tails_of_gamma_are_precise(shape, x, below, above):
    """The small one too, which 1 less the other would not give."""
    assert gamma_tails(shape, x) == (pytest.approx(below, rel=1e-9), pytest.approx(above, rel=1e-9))


@given(shape=st.floats(0.01, 1e5), share=st.floats(1e-12, 1 - 1e-12))
def test_quantile_of_gamma_is_the_inverse_of_the_tail(shape, share):
    """Wherever the float of the quantile can say so: below 1e-290 it cannot."""
    x = gamma_quantile(shape, share)
    assert x < 1e-290 or gamma_tails(shape, x)[0] == pytest.approx(share, rel=1e-8)


@given(a=st.floats(0.1, 5000), b=st.floats(0.1, 5000), x=st.floats(1e-6, 1 - 1e-6))
def test_beta_is_symmetric(a, b, x):
    """What lies below x for (a, b) lies above 1 - x for (b, a)."""
    below, above = beta_tails(a, b, x, 1 - x)
    assert beta_tails(b, a, 1 - x, x) == (
        pytest.approx(above, rel=1e-9, abs=1e-300),
        pytest.approx(below, rel=1e-9, abs=1e-300),
    )
    assert below + above == pytest.approx(1)


def test_counts_have_tails_that_include_them():
    poisson = [exp(-3), 3 * exp(-3), 4.5 * exp(-3), 4.5 * exp(-3)]
    assert poisson_tails(3, 2) == (
        pytest.approx(sum(poisson[:3]), rel=1e-12),
        pytest.approx(1 - sum(poisson[:2]), rel=1e-12),
    )
    assert binomial_tails(4, 0.5, 1) == (pytest.approx(5 / 16), pytest.approx(15 / 16))
    assert binomial_tails(4, 0.5, 4) == (1.0, pytest.approx(1 / 16))
    assert binomial_tails(4, 0.5, 0) == (pytest.approx(1 / 16), 1.0)
    assert poisson_tails(0, 0) == (1.0, 1.0)
    assert poisson_tails(0, 1) == (1.0, 0.0)


def test_ends_of_the_domain():
    assert gamma_tails(2, 0) == (0.0, 1.0)
    assert gamma_tails(2, inf) == (1.0, 0.0)
    assert beta_tails(2, 2, 0) == (0.0, 1.0)
    assert beta_tails(2, 2, 1) == (1.0, 0.0)
    assert f_tails(2, 2, inf) == (1.0, 0.0)
    assert isclose(distributions.NORMAL_95, 1.959963984540054)


@pytest.mark.parametrize(
    "impossible",
    [
        lambda: gamma_tails(0, 1),
        lambda: gamma_tails(1, -1),
        lambda: beta_tails(1, 1, 1.5),
        lambda: f_tails(1, 1, -1),
        lambda: gamma_quantile(1, 0),
        lambda: binomial_tails(3, 0.5, 4),
    ],
)
def test_refuses_what_has_no_probability(impossible):
    with pytest.raises(ValueError, match=r"probability|share"):
        impossible()
