"""Eigenvalues without eigenvectors against NumPy and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.solvers.eigenvalues import eigenvalues

EPS = np.finfo(np.float64).eps
DTYPES = (np.float32, np.float64, np.complex64, np.complex128)


def random_matrix(*shape: int, dtype: type = np.complex128) -> jax.Array:
    random = np.random.default_rng(0)
    matrix = random.normal(size=shape) + 1j * random.normal(size=shape)
    matrix = matrix + np.swapaxes(matrix, -1, -2).conj()
    is_complex = np.issubdtype(dtype, np.complexfloating)
    return jnp.asarray((matrix if is_complex else matrix.real).astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_agrees_with_numpy_in_every_dtype_and_batch(dtype: type) -> None:
    matrix = random_matrix(2, 3, 5, 5, dtype=dtype)
    got = jax.jit(eigenvalues)(matrix)
    want = np.linalg.eigvalsh(np.asarray(matrix))
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=0, atol=64 * np.finfo(dtype).eps * 10)
    mapped = jax.vmap(jax.vmap(eigenvalues))(matrix)
    np.testing.assert_array_equal(mapped, got)


def test_ring_is_a_cosine() -> None:
    ring = np.roll(np.eye(8), 1, 0) + np.roll(np.eye(8), -1, 0)
    want = np.sort(2 * np.cos(2 * np.pi * np.arange(8) / 8))
    got = eigenvalues(jnp.asarray(ring))
    np.testing.assert_allclose(got, want, rtol=0, atol=32 * EPS)


def test_derivative_in_both_modes_also_of_degenerate_levels() -> None:
    """The trace of H^3 has the derivative 3 H^2, in JAX's convention transposed."""
    for matrix in (random_matrix(4, 4), jnp.eye(4, dtype=complex)):
        cubes = jax.jit(lambda h: jnp.sum(eigenvalues(h) ** 3))
        gradient = jax.grad(cubes)(matrix)
        want = 3 * (matrix @ matrix).T
        np.testing.assert_allclose(gradient, want, rtol=0, atol=1e-11)
        pushed = jax.jvp(cubes, (matrix,), (jnp.eye(4, dtype=complex),))[1]
        np.testing.assert_allclose(pushed, jnp.trace(want).real, rtol=1e-12)


def test_nan_in_nan_out() -> None:
    matrices = random_matrix(2, 3, 3).at[1, 0, 0].set(jnp.nan)
    got = eigenvalues(matrices)
    assert np.isfinite(got[0]).all()
    assert np.isnan(got[1]).all()
