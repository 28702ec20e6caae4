"""Chebyshev moments, kernels and resolvents against exact sums and closed forms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import jv

from physml.operators import as_operator
from physml.solvers.chebyshev_resolvent import chebyshev_elements
from physml.solvers.kernel_polynomial import (
    chebyshev_density,
    chebyshev_moments,
    jackson_kernel,
    lorentz_kernel,
)
from physml.solvers.spectral_interval import SpectralInterval, spectral_interval

RNG = np.random.default_rng(0)


def hermitian(n, dtype):
    matrix = RNG.normal(size=(n, n)).astype(dtype)
    if dtype is np.complex128:
        matrix = matrix + 1j * RNG.normal(size=(n, n))
    return (matrix + matrix.conj().T) / np.sqrt(8 * n)


def rows(k, n, dtype):
    vectors = RNG.normal(size=(k, n)).astype(dtype)
    if dtype is np.complex128:
        vectors = vectors + 1j * RNG.normal(size=(k, n))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("num_moments", [1, 2, 9, 10])
def test_moments_are_those_of_the_eigenvalues(dtype, num_moments):
    matrix, vectors = hermitian(12, dtype), rows(3, 12, dtype)
    interval = SpectralInterval(jnp.asarray(0.1), jnp.asarray(2.0))
    levels, eigenvectors = np.linalg.eigh(matrix)
    weights = np.abs(vectors.conj() @ eigenvectors) ** 2  # (vector, level)
    angle = np.arccos((levels - 0.1) / 2)
    exact = weights @ np.cos(angle[:, None] * np.arange(num_moments))
    found = chebyshev_moments(
        as_operator(matrix), jnp.asarray(vectors), interval, num_moments=num_moments
    )
    assert found.shape == (3, num_moments)
    np.testing.assert_allclose(found, exact, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-10, 1e-14])
def test_resolvent_and_its_bound(dtype, tolerance):
    """Full solutions; 1e-14 is beyond what rounding allows near to the real axis."""
    matrix, vectors = hermitian(20, dtype), rows(2, 20, dtype)
    operator = as_operator(matrix)
    interval = spectral_interval(operator)
    heights = np.array([0.01, -0.2, 1.0, 3, 0.1, 1, 1])
    z = jnp.asarray(np.linspace(-2, 2, 7) + heights * 1j)
    find = partial(
        chebyshev_elements,
        interval,
        operator,
        z,
        jnp.asarray(vectors),
        tolerance=tolerance,
        max_iterations=10_000,
    )
    found, diagonal = find(jnp.arange(20)), find()
    solutions = np.asarray(found.value)  # (2, num_z, n)
    residual = vectors[:, None] - np.asarray(z)[:, None] * solutions
    residual = np.linalg.norm(residual + solutions @ matrix.T, axis=-1)
    bound = np.asarray(found.relative_residual)
    assert np.all(residual <= bound)
    assert np.array_equal(found.is_converged, bound <= tolerance)
    assert np.all(found.is_converged) == (tolerance > 1e-14)
    exact = np.sum(vectors.conj()[:, None] * solutions, axis=-1)
    error = np.abs(diagonal.value[..., 0] - exact) * np.abs(heights)
    assert np.all(error <= 2 * bound)


def test_a_spectrum_outside_of_the_interval_is_noticed():
    operator = as_operator(np.diag(np.linspace(-2.0, 2.0, 9)))
    interval = SpectralInterval(jnp.asarray(0.0), jnp.asarray(1.5))
    z, columns, limits = jnp.asarray([1.0 + 1j]), jnp.eye(9), {"max_iterations": 99}
    found = chebyshev_elements(interval, operator, z, columns, **limits)
    inside = np.abs(np.linspace(-2, 2, 9)) <= 1.5
    np.testing.assert_array_equal(np.isfinite(found.relative_residual[:, 0]), inside)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("seed", range(3))
def test_interval_holds_the_spectrum_and_is_tight(dtype, seed):
    matrix = hermitian(60, dtype) + 3 * np.eye(60)
    levels = np.linalg.eigvalsh(matrix)
    center, half_width = spectral_interval(
        as_operator(matrix), key=jax.random.key(seed)
    )
    assert center - half_width <= levels[0]
    assert center + half_width >= levels[-1]
    assert 2 * half_width <= 1.2 * (levels[-1] - levels[0])


@pytest.mark.parametrize("matrix", [np.zeros((4, 4)), 2 * np.eye(4), np.ones((4, 4))])
def test_interval_of_few_levels(matrix):
    """Where the Krylov space ends at once."""
    center, half_width = spectral_interval(as_operator(matrix))
    levels = np.linalg.eigvalsh(matrix)
    assert half_width > 0
    assert center - half_width <= levels[0] + 1e-14
    assert center + half_width >= levels[-1] - 1e-14


def test_infinite_chain():
    """Exact moments of the middle of a chain; rho = 1 / (pi sqrt(4 - E^2))."""
    n, number = 401, 200
    chain = as_operator(np.eye(n, k=1) + np.eye(n, k=-1))
    interval = SpectralInterval(jnp.asarray(0.0), jnp.asarray(2.2))
    middle = jnp.zeros((1, n)).at[0, n // 2].set(1)
    moments = chebyshev_moments(chain, middle, interval, num_moments=2 * number)
    energies = jnp.linspace(-1.5, 1.5, 11)
    density = chebyshev_density(moments, energies, interval, jackson_kernel(2 * number))
    exact = 1 / (np.pi * np.sqrt(4 - np.asarray(energies) ** 2))
    # the kernel smooths over a width of pi a / N = 0.017
    np.testing.assert_allclose(density[0], exact, rtol=1e-3)


def test_kernels():
    """A level at y: norm, variance in closed form to O(1/N^2), sign; a Lorentzian."""
    n, y = 300, 0.3
    interval = SpectralInterval(jnp.asarray(0.0), jnp.asarray(1.0))
    moments = jnp.cos(jnp.arange(1.0 * n) * np.arccos(y))[None]
    angle = (
        (np.arange(1000) + 0.5) * np.pi / 1000
    )  # Gauss-Chebyshev quadrature is exact
    x = jnp.asarray(np.cos(angle))
    weights = np.pi / 1000 * np.sin(angle)
    jackson, lorentz = (
        np.asarray(chebyshev_density(moments, x, interval, kernel)[0])
        for kernel in (jackson_kernel(n), lorentz_kernel(n, 4.0))
    )
    assert weights @ jackson == pytest.approx(1, abs=1e-12)
    assert weights @ lorentz == pytest.approx(1, abs=1e-12)
    variance = (n - y**2 * (n - 1)) / (2 * (n + 1)) * (1 - np.cos(2 * np.pi / (n + 1)))
    found = weights @ (jackson * (np.asarray(x) - y) ** 2)
    assert found == pytest.approx(variance, rel=1 / n**2)
    assert jackson.min() > -1e-9
    eta = 4.0 / n * np.sqrt(1 - y**2)
    assert lorentz.max() == pytest.approx(1 / (np.pi * eta), rel=0.05)


def test_outside_of_the_interval_there_are_no_states():
    interval = SpectralInterval(jnp.asarray(0.0), jnp.asarray(1.0))
    density = chebyshev_density(
        jnp.ones((1, 4)), jnp.asarray([-1.0, 1.0, 5.0]), interval, jackson_kernel(4)
    )
    np.testing.assert_array_equal(density, 0.0)


def test_gradient_of_moments_by_the_derivative_of_a_polynomial():
    """For H -> H + v the derivative of mu_n with respect to v is <T_n'(X)> / a."""
    matrix, vectors = hermitian(8, np.float64), jnp.asarray(rows(1, 8, np.float64))
    interval = SpectralInterval(jnp.asarray(0.0), jnp.asarray(2.0))
    levels, eigenvectors = np.linalg.eigh(matrix)
    weights = (np.asarray(vectors) @ eigenvectors)[0] ** 2

    def moment(shift):
        operator = as_operator(jnp.asarray(matrix) + shift * jnp.eye(8))
        return chebyshev_moments(operator, vectors, interval, num_moments=12)[0]

    found = jax.jit(jax.jacrev(moment))(0.0)
    chebyshev = [np.polynomial.chebyshev.Chebyshev.basis(n) for n in range(12)]
    exact = [weights @ t.deriv()(levels / 2) / 2 for t in chebyshev]
    np.testing.assert_allclose(found, exact, atol=1e-12)


def test_time_evolution_of_an_infinite_chain():
    """Moments are exact: sum_n i^n J_n(t) mu_n is J_0(2 t) in the middle of a chain."""
    n, time = 101, 7.0
    chain = as_operator(np.eye(n, k=1) + np.eye(n, k=-1))
    interval = SpectralInterval(jnp.asarray(0.0), jnp.asarray(2.0))
    middle = jnp.zeros((1, n)).at[0, n // 2].set(1)
    moments = np.asarray(chebyshev_moments(chain, middle, interval, num_moments=60))[0]
    k = np.arange(60)
    terms = np.where(k == 0, 1, 2) * (-1j) ** k * jv(k, 2 * time) * moments
    assert terms.sum() == pytest.approx(jv(0, 2 * time), abs=1e-12)


def test_a_kernel_without_decay_is_refused():
    with pytest.raises(ValueError, match="a decay > 0, got 0"):
        lorentz_kernel(8, 0.0)
