"""The lowest state by Lanczos cycles against dense diagonalization."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.operators.linear_operator import DenseOperator, as_operator
from physml.solvers.lowest_state import lowest_state


def hermitian(size, *, is_complex=False, seed=0):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(size, size)) + 0j
    if is_complex:
        matrix += 1j * rng.normal(size=(size, size))
    matrix = matrix + matrix.conj().T
    return matrix if is_complex else matrix.real


def start(size):
    return jnp.asarray(np.random.default_rng(7).normal(size=size))


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("size", [1, 2, 7, 150])
def test_level_and_state(size, is_complex):
    matrix = hermitian(size, is_complex=is_complex)
    levels, vectors = np.linalg.eigh(matrix)
    found = jax.jit(lowest_state)(as_operator(matrix), start(size))
    assert found.is_converged
    np.testing.assert_allclose(found.energy, levels[0], atol=1e-12)
    overlap = abs(np.vdot(vectors[:, 0], found.vector))
    np.testing.assert_allclose(overlap, 1, atol=1e-12)
    vector = np.asarray(found.vector)
    residual = matrix @ vector - levels[0] * vector
    assert np.linalg.norm(residual) < 1e-10
    assert found.residual_norm < 1e-10


def test_needs_cycles_where_the_gap_is_small():
    levels = np.concatenate([[-1.0, -0.999], np.linspace(-0.99, 1, 198)])
    q = np.linalg.qr(hermitian(200))[0]
    found = lowest_state(as_operator((q * levels) @ q.T), start(200))
    assert found.is_converged
    assert found.num_cycles > 1
    np.testing.assert_allclose(abs(q[:, 0] @ found.vector), 1, atol=1e-12)


def test_a_degenerate_level_gives_one_of_its_states():
    levels = np.array([-1.0, -1.0, 0.0, 0.5, 2.0])
    q = np.linalg.qr(hermitian(5))[0]
    found = lowest_state(as_operator((q * levels) @ q.T), start(5))
    assert found.is_converged
    np.testing.assert_allclose(np.linalg.norm(q[:, :2].T @ found.vector), 1, atol=1e-12)


def test_what_the_operator_does_not_couple_stays_zero():
    matrix = np.zeros((6, 6))
    matrix[:3, :3] = hermitian(3)
    matrix[3:, 3:] = -100 * np.eye(3)
    begin = start(6).at[3:].set(0)
    found = lowest_state(as_operator(matrix), begin)
    np.testing.assert_array_equal(found.vector[3:], 0)
    np.testing.assert_allclose(found.energy, np.linalg.eigvalsh(matrix[:3, :3])[0])


def test_an_operator_of_zeros():
    found = lowest_state(as_operator(np.zeros((4, 4))), start(4))
    assert found.is_converged
    assert found.energy == 0


def test_many_at_once():
    matrices = np.stack([hermitian(20, seed=seed) for seed in range(3)])
    starts = jnp.stack([start(20)] * 3)
    solve = jax.vmap(lambda matrix, v: lowest_state(DenseOperator(matrix), v))
    found = solve(jnp.asarray(matrices), starts)
    expected = [np.linalg.eigvalsh(matrix)[0] for matrix in matrices]
    np.testing.assert_allclose(found.energy, expected, atol=1e-12)
    assert found.is_converged.all()


def test_no_convergence_and_nan_are_told():
    operator = as_operator(hermitian(150))
    found = lowest_state(operator, start(150), basis_size=3, max_cycles=2)
    assert not found.is_converged
    assert found.num_cycles == 2
    found = lowest_state(as_operator(np.full((3, 3), np.nan)), start(3))
    assert not found.is_converged
    assert found.num_cycles == 1


def test_float32():
    found = lowest_state(
        as_operator(hermitian(50).astype(np.float32)), start(50).astype(np.float32)
    )
    assert found.vector.dtype == found.energy.dtype == np.float32
    assert found.is_converged
