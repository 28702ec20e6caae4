import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.tree_util import Partial

from physml.hamiltonians import Harmonic, schrodinger_hamiltonian
from physml.lattices import Grid
from physml.solvers import (
    combination_energy,
    extended_estimates,
    lowest_combination,
    lowest_levels,
    overlaps,
    project_out,
    rayleigh_ritz,
)

RNG = np.random.default_rng(0)


def random_symmetric(n, dtype=np.float64):
    rng = np.random.default_rng(n)
    matrix = rng.normal(size=(n, n))
    if dtype == np.complex128:
        matrix = matrix + 1j * rng.normal(size=(n, n))
    return matrix + matrix.conj().T


def random_rows(m, n, dtype, seed=3):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(m, n))
    if dtype == np.complex128:
        rows = rows + 1j * rng.normal(size=(m, n))
    return rows.astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_projection_leaves_no_overlap(dtype):
    rows = np.linalg.qr(random_rows(3, 12, dtype).T)[0].T.conj()
    vectors = jnp.asarray(np.vstack([rows, np.zeros((1, 12), dtype)]))
    psi = 1e3 * vectors[0] + jnp.asarray(random_rows(1, 12, dtype, seed=4)[0])
    left = jax.jit(project_out)(vectors.reshape(4, 3, 4), psi.reshape(3, 4))
    size = np.finfo(dtype).eps * 10
    assert left.shape == (3, 4)
    assert np.abs(overlaps(vectors, left.reshape(1, 12))).max() < size * 10
    # what is left differs from psi only along the vectors
    inside = np.asarray(vectors[:3]).conj() @ np.asarray(psi)
    np.testing.assert_allclose(
        left.ravel() + inside @ np.asarray(vectors[:3]), psi, atol=size * 1e4
    )


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_best_combination_is_the_lowest_ritz_value(dtype):
    matrix = jnp.asarray(random_symmetric(20, dtype) + 10 * np.eye(20))
    functions = jnp.asarray(random_rows(5, 20, dtype))
    operator = Partial(jnp.matmul, matrix)
    basis = np.linalg.qr(np.asarray(functions).T)[0]
    expected = np.linalg.eigvalsh(basis.conj().T @ np.asarray(matrix) @ basis)[0]
    assert combination_energy(operator, functions) == pytest.approx(expected, rel=1e-12)
    coefficients, _ = lowest_combination(operator, functions)
    psi = np.asarray(coefficients @ functions)
    energy = np.vdot(psi, matrix @ psi).real / np.vdot(psi, psi).real
    assert energy == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_gradient_at_fixed_coefficients_is_the_whole_gradient(dtype):
    """Finite differences of the minimum over coefficients, in random directions."""
    matrix = jnp.asarray(random_symmetric(20, dtype))
    operator = Partial(jnp.matmul, matrix)
    functions = jnp.asarray(random_rows(4, 20, dtype))
    gradient = jax.grad(combination_energy, 1)(operator, functions)
    for seed in range(3):
        direction = jnp.asarray(random_rows(4, 20, dtype, seed=10 + seed))
        h = 1e-5
        ahead, behind = (
            float(combination_energy(operator, functions + s * h * direction))
            for s in (1, -1)
        )
        # JAX's gradient is the conjugate of the direction of steepest ascent
        slope = float(jnp.sum(gradient * direction).real)
        assert slope == pytest.approx((ahead - behind) / (2 * h), rel=1e-7, abs=1e-8)


def test_dependent_functions_are_no_trouble():
    hamiltonian = schrodinger_hamiltonian(Grid.line(-6, 6, 63), Harmonic())
    x = np.linspace(-6, 6, 65)[1:-1]
    one = np.exp(-0.5 * x**2)
    functions = jnp.asarray(np.stack([one, 2 * one, one + 1e-17 * x, np.zeros(63)]))
    energy, gradient = jax.value_and_grad(combination_energy, 1)(hamiltonian, functions)
    assert energy == pytest.approx(0.5, abs=1e-6)
    assert np.isfinite(gradient).all()
    # more dependent functions do not change the combination's energy
    alone = combination_energy(hamiltonian, functions[:1])
    assert energy == pytest.approx(float(alone), abs=1e-12)


def test_rayleigh_ritz_gives_upper_bounds_each_of_its_own():
    matrix = random_symmetric(30)
    exact, vectors = np.linalg.eigh(matrix)
    noisy = vectors[:, :4].T + 0.05 * RNG.normal(size=(4, 30))
    ritz = rayleigh_ritz(scipy.sparse.csr_array(matrix), noisy)
    assert np.all(ritz.energies >= exact[:4] - 1e-14)
    np.testing.assert_allclose(ritz.vectors @ ritz.vectors.T, np.eye(4), atol=1e-14)
    projected = ritz.vectors @ matrix @ ritz.vectors.T
    np.testing.assert_allclose(projected, np.diag(ritz.energies), atol=1e-12)


def test_rayleigh_ritz_refuses_complex_vectors():
    with pytest.raises(ValueError, match="real vectors"):
        rayleigh_ritz(scipy.sparse.eye_array(3).tocsr(), 1j * np.ones((1, 3)))


def test_extended_estimates_keep_digits_that_float64_loses():
    """A matrix of norm 1e12 with a level at 0.1 that float64 sums cannot see."""
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(2, 2)))[0]
    level = rotation[:, 0]
    matrix = scipy.sparse.csr_array(1e12 * np.outer(rotation[:, 1], rotation[:, 1]))
    energies, residuals = extended_estimates(matrix, level[None])
    exact = np.asarray(level, np.longdouble) @ (
        matrix.toarray().astype(np.longdouble) @ level.astype(np.longdouble)
    )
    assert energies[0] == pytest.approx(float(exact), abs=1e-8)
    assert residuals[0] < 1e-3


@pytest.mark.parametrize("n", [200, 900])  # dense, shift and invert
def test_lowest_levels_of_the_stencil_in_closed_form(n):
    """Order 2 in an infinite well: E_k = (1 - cos(k pi / (n + 1))) / h^2."""
    grid = Grid.line(0.0, 1.0, n)
    hamiltonian = schrodinger_hamiltonian(grid, np.zeros_like, stencil_order=2)
    found = lowest_levels(hamiltonian.to_sparse(), 5, lower_bound=0.0)
    k = np.arange(1, 6)
    exact = 2 * np.sin(k * np.pi / (2 * (n + 1))) ** 2 / grid.lines[0].spacing ** 2
    np.testing.assert_allclose(found.energies, exact, rtol=1e-12)
    np.testing.assert_allclose(found.vectors @ found.vectors.T, np.eye(5), atol=1e-11)


def test_degenerate_levels_are_all_found():
    grid = Grid.line(-5, 5, 27, dimension=2)
    hamiltonian = schrodinger_hamiltonian(grid, lambda x, y: 0.5 * (x**2 + y**2))
    levels = lowest_levels(hamiltonian.to_sparse(), 6, lower_bound=0.0).energies
    np.testing.assert_allclose(levels, [1, 2, 2, 3, 3, 3], atol=1e-4)
    assert levels[2] - levels[1] < 1e-10


def test_more_levels_than_rows_are_refused():
    matrix = scipy.sparse.eye_array(5).tocsr()
    with pytest.raises(ValueError, match="between 1 and 4 levels on 5 grid points"):
        lowest_levels(matrix, 5, lower_bound=0.0)


@pytest.mark.parametrize("num_levels", [598, 599])
def test_nearly_all_levels_of_a_matrix_beyond_the_dense_limit(num_levels):
    matrix = scipy.sparse.csr_array(scipy.sparse.diags_array(np.arange(600.0)))
    found = lowest_levels(matrix, num_levels).energies
    np.testing.assert_allclose(found, np.arange(num_levels), rtol=1e-14, atol=1e-12)
