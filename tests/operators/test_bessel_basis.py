"""Bessel functions of any order: zeros, orthonormality, the differential equation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gamma, jn_zeros, jv

from physml.operators.bessel_basis import bessel_basis, bessel_zeros, gauss_rule

EPS = np.finfo(np.float64).eps


@pytest.mark.parametrize("order", [0, 1, 2, 10])
def test_zeros_of_integer_orders_are_those_of_scipy(order):
    got = bessel_zeros(order, 60)
    np.testing.assert_allclose(got, jn_zeros(order, 60), rtol=4 * EPS)


def test_zeros_of_order_one_half_are_multiples_of_pi():
    got = bessel_zeros(0.5, 80)
    np.testing.assert_allclose(got, np.pi * np.arange(1, 81), rtol=4 * EPS)


@pytest.mark.parametrize("order", [0.25, 1.7, 33.3, 200])
def test_zeros_of_any_order_interlace(order):
    """j_(nu,n) < j_(nu+1,n) < j_(nu,n+1): none is left out."""
    lower, upper = bessel_zeros(order, 31), bessel_zeros(order + 1, 30)
    assert np.all(lower[:-1] < upper)
    assert np.all(upper < lower[1:])
    assert lower[0] > order
    np.testing.assert_allclose(jv(order, lower), 0, atol=1e-14)


def test_rule_integrates_polynomials_and_fractional_powers():
    radii, weights = gauss_rule(2.0, 40)
    for power in (0, 1, 7, 0.5, -0.5):
        want = 2.0 ** (power + 2) / (power + 2)
        np.testing.assert_allclose(weights @ radii**power, want, rtol=1e-12)


@pytest.mark.parametrize("order", [0, 0.3, 0.5, 3, 40.25])
def test_functions_are_orthonormal(order):
    basis = bessel_basis([order], 30, radius=3.0)
    functions = basis.functions[0]
    overlaps = (functions * basis.weights[None]) @ functions.T
    np.testing.assert_allclose(overlaps, np.eye(30), atol=1e-12)


def test_functions_at_any_radii():
    """The power of the order at the center, zero at the wall and beyond."""
    basis = bessel_basis([0.5, 2], 3, radius=2.0)
    at_points = basis.at(np.asarray(basis.radii))
    np.testing.assert_allclose(at_points, basis.functions, atol=1e-14)
    small = 1e-3
    got = basis.at(np.array([[small, 2.0, 2.5]]))
    assert got.shape == (2, 3, 1, 3)
    np.testing.assert_array_equal(got[..., 1:], 0)
    j = np.asarray(basis.zeros[1])
    norm = np.sqrt(2) / (2 * np.abs(jv(3, j)))
    power = norm * (j * small / 4) ** 2 / gamma(3)
    np.testing.assert_allclose(got[1, :, 0, 0], power, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([-1.0], 3), "orders >= 0"),
        (([], 3), "orders >= 0"),
        (([np.nan], 3), "orders >= 0"),
        (([0], 3, 0.0), "a radius > 0"),
        (([0], 0), "num_functions >= 1"),
    ],
)
def test_bad_input_is_refused_in_words(arguments, words):
    with pytest.raises(ValueError, match=words):
        bessel_basis(*arguments)


def test_traced_radii_are_refused_in_words():
    basis = bessel_basis([0], 2)
    with pytest.raises(ValueError, match="radii that are known numbers"):
        jax.jit(lambda r: basis.at(r))(jnp.ones(2))
