"""Energies against dense linear algebra; the hand-written derivative three ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from jax.tree_util import Partial

from physml.estimators import energy_estimate, rayleigh_quotient


def random_problem(dtype, n=7, seed=0):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        real = rng.normal(size=shape)
        return real + 1j * rng.normal(size=shape) if dtype == np.complex128 else real

    matrix = draw(n, n)
    return jnp.asarray(matrix + matrix.conj().T), jnp.asarray(draw(n))


def plain_quotient(matrix, psi):
    return (jnp.vdot(psi, matrix @ psi) / jnp.vdot(psi, psi)).real


DTYPES = [np.float64, np.complex128]


@pytest.mark.parametrize("dtype", DTYPES)
def test_eigenvectors_have_their_eigenvalue_and_no_residual(dtype):
    matrix, _ = random_problem(dtype)
    values, vectors = np.linalg.eigh(matrix)
    operator = Partial(jnp.matmul, matrix)
    for value, vector in zip(values, vectors.T, strict=True):
        estimate = energy_estimate(operator, jnp.asarray(3.0 * vector))
        assert estimate.energy == pytest.approx(value, abs=1e-13)
        assert estimate.residual_norm < 1e-13


@pytest.mark.parametrize("dtype", DTYPES)
def test_variance_is_that_of_the_operator(dtype):
    matrix, psi = random_problem(dtype)
    estimate = jax.jit(energy_estimate)(Partial(jnp.matmul, matrix), psi)
    normalized = np.asarray(psi) / np.linalg.norm(psi)
    image = np.asarray(matrix) @ normalized
    mean = np.vdot(normalized, image).real
    variance = np.vdot(image, image).real - mean**2
    assert estimate.energy == pytest.approx(mean, rel=1e-13)
    assert estimate.variance == pytest.approx(variance, rel=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivative_equals_autodiff_of_the_formula(dtype):
    matrix, psi = random_problem(dtype)

    def ours(m, p):
        return rayleigh_quotient(Partial(jnp.matmul, m), p)

    for argument in (0, 1):
        by_hand = jax.grad(ours, argument)(matrix, psi)
        by_autodiff = jax.grad(plain_quotient, argument)(matrix, psi)
        np.testing.assert_allclose(by_hand, by_autodiff, atol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivative_against_finite_differences_in_both_modes(dtype):
    matrix, psi = random_problem(dtype)
    operator = Partial(jnp.matmul, matrix)
    check_grads(lambda p: rayleigh_quotient(operator, p), (psi,), 1, ["fwd", "rev"])


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradient_is_the_residual_formula(dtype):
    """The dense formula, written out: 2 (H - E) psi / <psi|psi>, conjugated by JAX."""
    matrix, psi = random_problem(dtype)
    energy = plain_quotient(matrix, psi).astype(dtype)
    expected = 2 * (matrix @ psi - energy * psi) / jnp.vdot(psi, psi)
    operator = Partial(jnp.matmul, matrix)
    gradient = jax.jit(jax.grad(rayleigh_quotient, 1))(operator, psi)
    np.testing.assert_allclose(gradient, expected.conj(), atol=1e-13)


def test_vmap_over_wave_functions():
    matrix, _ = random_problem(np.float64)
    states = jnp.asarray(np.random.default_rng(1).normal(size=(5, 7)))
    operator = Partial(jnp.matmul, matrix)
    batched = jax.vmap(rayleigh_quotient, (None, 0))(operator, states)
    each = [plain_quotient(matrix, state) for state in states]
    np.testing.assert_allclose(batched, each, rtol=1e-13)


def test_zero_wave_function_gives_nan_not_a_number_that_looks_right():
    matrix, _ = random_problem(np.float64)
    operator = Partial(jnp.matmul, matrix)
    assert np.isnan(rayleigh_quotient(operator, jnp.zeros(7)))
    assert np.isnan(energy_estimate(operator, jnp.zeros(7)).energy)
