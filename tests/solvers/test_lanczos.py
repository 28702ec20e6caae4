"""The Lanczos process keeps its relation between neighbors, and ends where it must."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.operators import as_operator
from physml.solvers.lanczos import lanczos_chunk, lanczos_start

N = 12
EPS = np.finfo(np.float64).eps


def hermitian(dtype, seed=0):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(N, N)).astype(dtype)
    if np.issubdtype(dtype, np.complexfloating):
        matrix = matrix + 1j * rng.normal(size=(N, N))
    return matrix + matrix.conj().T


def run(matrix, columns, num_steps, rows=None):
    start, _ = lanczos_start(jnp.asarray(columns))
    return lanczos_chunk(as_operator(matrix), start, rows, num_steps=num_steps)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_vectors_and_numbers_satisfy_the_three_term_relation(dtype):
    matrix = hermitian(dtype)
    column = np.arange(1.0, N + 1).astype(dtype)
    last, steps = run(matrix, column, 5, jnp.arange(N))
    v, a, b = steps.elements.T, np.array(steps.diagonal), np.array(steps.coupling)
    tridiagonal = np.diag(a) + np.diag(b[:-1], 1) + np.diag(b[:-1], -1)
    rest = np.outer(b[-1] * np.asarray(last.current), np.eye(5)[4])
    bound = 20 * EPS * np.linalg.norm(matrix)
    np.testing.assert_allclose(
        matrix @ v, v @ tridiagonal.astype(dtype) + rest, atol=bound
    )
    np.testing.assert_allclose(v.conj().T @ v, np.eye(5), atol=bound)
    assert steps.diagonal.dtype == steps.coupling.dtype == np.float64


def test_chunks_go_on_where_the_last_one_ended():
    matrix, column = hermitian(np.float64), np.eye(N)[3]
    _, whole = run(matrix, column, 6, jnp.array([0, 4]))
    state, first = run(matrix, column, 2, jnp.array([0, 4]))
    _, second = lanczos_chunk(
        as_operator(matrix), state, jnp.array([0, 4]), num_steps=4
    )
    joined = jax.tree.map(lambda x, y: jnp.concatenate([x, y]), first, second)
    jax.tree.map(np.testing.assert_array_equal, joined, whole)


def test_columns_are_processes_of_their_own():
    matrix, columns = hermitian(np.float64), np.eye(N)[:3]
    _, together = run(matrix, columns, 5, jnp.array([1]))
    for i, column in enumerate(columns):
        _, alone = run(matrix, column, 5, jnp.array([1]))
        np.testing.assert_allclose(together.coupling[:, i], alone.coupling, rtol=1e-13)
        np.testing.assert_allclose(together.elements[:, i], alone.elements, atol=1e-13)


def test_sites_and_unit_vectors_are_the_same_rows():
    matrix, column = hermitian(np.complex128), np.ones(N, complex)
    _, sites = run(matrix, column, 4, jnp.array([2, 7]))
    _, vectors = run(matrix, column, 4, jnp.eye(N)[np.array([2, 7])])
    np.testing.assert_allclose(sites.elements, vectors.elements, atol=1e-15)


def test_a_row_vector_is_conjugated():
    matrix = hermitian(np.complex128)
    column = np.exp(1j * np.arange(N))
    _, steps = run(matrix, column, 1, jnp.asarray(column)[None])
    np.testing.assert_allclose(steps.elements[0, 0], np.sqrt(N), rtol=1e-14)


@pytest.mark.parametrize("num_levels", [1, 2, 3])
def test_ends_at_an_invariant_subspace(num_levels):
    q = np.linalg.qr(hermitian(np.float64))[0]
    levels = np.arange(N) % num_levels + 0.5
    last, steps = run((q * levels) @ q.T, np.eye(N)[0], 6)
    assert np.flatnonzero(~np.asarray(steps.is_valid))[0] == num_levels
    assert not last.is_valid
    np.testing.assert_array_equal(last.current, 0.0)
    assert steps.coupling[num_levels - 1] < 20 * EPS * num_levels


@pytest.mark.parametrize("matrix", [np.zeros((N, N)), 3.0 * np.eye(N)])
def test_ends_at_once_for_a_multiple_of_the_identity(matrix):
    _, steps = run(matrix, np.eye(N)[:2], 2)
    np.testing.assert_array_equal(steps.is_valid, [[True, True], [False, False]])
    np.testing.assert_array_equal(steps.diagonal[0], matrix[0, 0])


def test_a_column_of_zeros_has_no_process():
    state, norm = lanczos_start(jnp.zeros(N))
    assert norm == 0.0
    assert not state.is_valid
