"""Eigenvectors and their pullback: densities, degenerate levels, refusals."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.pullbacks import WrongPullback, check_pullback
from physml.solvers.eigenpairs import eigenpairs

eigenpairs_module = importlib.import_module("physml.solvers.eigenpairs")
DTYPES = (np.float64, np.complex128)
EPS = np.finfo(np.float64).eps


def random_matrix(*shape: int, dtype: type = np.complex128, seed: int = 0) -> jax.Array:
    random = np.random.default_rng(seed)
    matrix = random.normal(size=shape) + 1j * random.normal(size=shape)
    is_complex = np.issubdtype(dtype, np.complexfloating)
    return jnp.asarray((matrix if is_complex else matrix.real).astype(dtype))


def densities(matrix: jax.Array) -> jax.Array:
    """Return |q_im|^2, shape (..., site, level)."""
    return jnp.abs(eigenpairs(matrix).vectors) ** 2


def levels_and_densities(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    levels, vectors = eigenpairs(matrix)
    return levels, jnp.abs(vectors) ** 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_solves_the_eigenproblem_under_jit_and_vmap(dtype):
    matrix = random_matrix(3, 5, 5, dtype=dtype)
    hermitian = (matrix + jnp.swapaxes(matrix, 1, 2).conj()) / 2
    levels, vectors = jax.jit(eigenpairs)(matrix)
    moved = hermitian @ vectors - vectors * levels[:, None].astype(dtype)
    np.testing.assert_allclose(moved, 0, atol=100 * EPS)
    assert levels.dtype == np.float64
    for one, many in zip(jax.vmap(eigenpairs)(matrix), (levels, vectors), strict=True):
        np.testing.assert_allclose(one, many, atol=100 * EPS)


@pytest.mark.parametrize("dtype", DTYPES)
def test_pullback_of_levels_and_densities(dtype):
    matrix = random_matrix(4, 4, dtype=dtype)
    assert check_pullback(levels_and_densities, matrix).is_passed


def test_gradient_of_a_batch_is_that_of_each():
    matrices = random_matrix(3, 4, 4)

    def total(matrix):
        return jnp.sum(densities(matrix)[..., 0, :2] ** 2)

    many = jax.jit(jax.grad(total))(matrices)
    mapped = jax.jit(jax.vmap(jax.grad(total)))(matrices)
    np.testing.assert_allclose(many, mapped, atol=1e-13)
    one = jax.jit(jax.grad(total))(matrices[1])
    np.testing.assert_allclose(many[1], one, atol=1e-13)


def test_a_wrong_pullback_is_caught(monkeypatch):
    monkeypatch.setattr(eigenpairs_module, "_adjoint", jnp.matrix_transpose)
    with pytest.raises(WrongPullback):
        check_pullback(levels_and_densities, random_matrix(4, 4))


@pytest.mark.parametrize("dtype", DTYPES)
def test_density_of_a_degenerate_level_against_the_resolvent(dtype):
    """A level of two below one of two: perturbation theory by a contour integral."""
    rotation = jnp.linalg.qr(random_matrix(4, 4, dtype=dtype, seed=1))[0]
    levels = jnp.asarray([-1.0, -1.0, 2.0, 2.0], dtype)
    matrix = (rotation * levels[None]) @ rotation.conj().T
    change = random_matrix(4, 4, dtype=dtype, seed=2)
    change = (change + change.conj().T) / 2

    def density(t):
        return jnp.sum(densities(matrix + t.astype(dtype) * change)[:, :2], axis=1)

    got = jax.jit(jax.jacrev(density))(jnp.zeros(()))
    below = rotation[:, :2] @ rotation[:, :2].conj().T
    above = jnp.eye(4, dtype=dtype) - below
    want = 2 * jnp.real(jnp.diag(above @ change @ below)) / (-1.0 - 2.0)
    np.testing.assert_allclose(got, want, atol=1e-13)


def test_sum_of_a_degenerate_level_is_differentiated():
    total = jax.grad(lambda h: jnp.sum(eigenpairs(h).levels[:2]))
    gradient = jax.jit(total)(jnp.eye(2))
    np.testing.assert_allclose(gradient, np.eye(2), atol=EPS)


@pytest.mark.parametrize(
    ("function", "matrix"),
    [
        (lambda h: eigenpairs(h).vectors[1, 0].real, random_matrix(3, 3)),  # phase
        (lambda h: densities(h)[0, 0], jnp.diag(jnp.asarray([1.0, 1.0, 2.0]))),
        (lambda h: eigenpairs(h).levels[0], jnp.eye(3)),
    ],
)
def test_what_has_no_derivative_is_refused_in_words_and_nan_under_jit(function, matrix):
    if matrix.dtype == np.float64:  # a basis in which the states of a level mix
        rotation = jnp.linalg.qr(random_matrix(3, 3, dtype=np.float64))[0]
        matrix = rotation @ matrix @ rotation.T
    with pytest.raises(ValueError, match="a function of whole levels"):
        jax.grad(function)(matrix)
    assert np.isnan(jax.jit(jax.grad(function))(matrix)).all()


def test_nan_in_nan_out():
    assert np.isnan(eigenpairs(jnp.full((2, 2), jnp.nan)).levels).all()
