"""The direct methods for all diagonal elements of a resolvent, against each other."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from physml.operators import as_operator
from physml.pullbacks import check_pullback
from physml.solvers import selected_inversion
from physml.solvers.block_tridiagonal import block_tridiagonal, slice_order
from physml.solvers.eigenvector_sum import dense_diagonal_resolvent

Z = jnp.asarray(np.linspace(-3, 3, 9) + np.array([0.1, -0.1, 1.0] * 3) * 1j)


def banded(n, width, dtype, seed=0):
    """Return a random Hermitian band in a random order of the sites."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(n, n)).astype(dtype)
    if np.issubdtype(dtype, np.complexfloating):
        matrix = matrix + 1j * rng.normal(size=(n, n))
    matrix = np.triu(np.tril(matrix + matrix.conj().T, width), -width)
    order = rng.permutation(n)
    return matrix[np.ix_(order, order)]


def exact(matrix, z):
    return np.stack(
        [np.linalg.inv(x * np.eye(len(matrix)) - matrix) for x in np.asarray(z)]
    )


def exact_diagonal(matrix, z):
    return np.diagonal(exact(matrix, z), axis1=1, axis2=2)


def recursive(operator, z):
    order = slice_order(operator)
    blocks = jax.jit(block_tridiagonal)(operator, order)
    return selected_inversion.recursive_diagonal_resolvent(blocks, z)


METHODS = {"recursive": recursive, "dense": dense_diagonal_resolvent}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize(
    ("n", "width"), [(1, 0), (5, 0), (12, 1), (15, 2), (14, 3), (9, 8)]
)
def test_elements_are_those_of_the_inverse(method, dtype, n, width):
    matrix = banded(n, width, dtype)
    found = METHODS[method](as_operator(matrix), Z)
    np.testing.assert_allclose(found.values, exact_diagonal(matrix, Z), rtol=1e-11)
    assert found.relative_residual.shape == (9, n)
    assert found.relative_residual.max() < 1e-11


@pytest.mark.parametrize("method", METHODS)
def test_infinite_chain(method):
    """In the middle of a chain that is long against 1 / eta: G = 1/sqrt(z^2 - 4)."""
    n, z = 401, jnp.asarray(np.linspace(-2.5, 2.5, 11) + 0.2j)
    chain = scipy.sparse.diags_array([-1.0, -1.0], offsets=[-1, 1], shape=(n, n))
    found = METHODS[method](as_operator(chain), z).values[:, n // 2]
    # the root that is 1/z far away
    closed = 1 / (z * jnp.sqrt(1 - 4 / z**2))
    np.testing.assert_allclose(found, closed, rtol=1e-11)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bonds", ["square", "ring"])
def test_lattices_with_degenerate_levels(method, bonds):
    """Periodic, so that every site has the mean of 1/(z - E_k) over plane waves."""
    ring = np.roll(np.eye(8), 1, 0) + np.roll(np.eye(8), -1, 0)
    k = 2 * np.cos(2 * np.pi * np.arange(8) / 8)
    matrix, energies = ring, k
    if bonds == "square":
        matrix = np.kron(ring, np.eye(8)) + np.kron(np.eye(8), ring)
        energies = np.add.outer(k, k).ravel()
    closed = np.mean(1 / (np.asarray(Z)[:, None] - energies), axis=1)
    found = METHODS[method](as_operator(scipy.sparse.csr_array(matrix)), Z).values
    everywhere = np.broadcast_to(closed[:, None], found.shape)
    np.testing.assert_allclose(found, everywhere, rtol=1e-11)


@pytest.mark.parametrize("method", METHODS)
def test_near_the_real_axis_and_outside_the_spectrum(method):
    matrix = banded(40, 3, np.float64)
    z = jnp.asarray([0.3 + 1e-7j, -1.0 - 1e-7j, 100.0, -100.0])
    found = METHODS[method](as_operator(matrix), z)
    spectrum, vectors = np.linalg.eigh(matrix)
    summed = (1 / (np.asarray(z)[:, None] - spectrum)) @ vectors.T**2
    np.testing.assert_allclose(found.values, summed, rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_disconnected_zero_and_constant_matrices(method):
    for matrix in (np.zeros((5, 5)), 2.0 * np.eye(5), np.diag([1.0, 1, 2, 2, 3])):
        found = METHODS[method](as_operator(matrix), Z)
        diagonal = 1 / (np.asarray(Z)[:, None] - np.diag(matrix))
        np.testing.assert_allclose(found.values, diagonal, rtol=1e-14)
        assert found.relative_residual.max() < 1e-14


def of_matrix(method, matrix, order):
    """Return the values for a matrix that may be traced."""
    operator = as_operator(matrix)
    if method == "dense":
        return dense_diagonal_resolvent(operator, Z).values
    blocks = block_tridiagonal(operator, order)
    return selected_inversion.recursive_diagonal_resolvent(blocks, Z).values


@pytest.mark.parametrize("method", METHODS)
def test_under_jit_and_vmap(method):
    chain = as_operator(banded(6, 1, np.float64))
    order = slice_order(chain)
    potentials = jnp.asarray(np.random.default_rng(1).normal(size=(3, 6)))
    values = jax.jit(
        jax.vmap(lambda v: of_matrix(method, chain.matrix + jnp.diag(v), order))
    )
    for one, potential in zip(values(potentials), potentials, strict=True):
        matrix = np.asarray(chain.matrix) + np.diag(potential)
        np.testing.assert_allclose(one, exact_diagonal(matrix, Z), rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("width", [1, 2])
def test_derivative_is_that_of_the_dense_formula(method, dtype, width):
    """The sum over i of c_i dG_ii is tr(G c G dH)."""
    n = 7
    matrix = banded(n, width, dtype)
    rng = np.random.default_rng(3)
    cotangent = rng.normal(size=(9, n)) + 1j * rng.normal(size=(9, n))
    operator = as_operator(matrix)
    order = slice_order(operator)

    def values(matrix, z):
        if method == "dense":
            return dense_diagonal_resolvent(as_operator(matrix), z).values
        blocks = block_tridiagonal(as_operator(matrix), order)
        return selected_inversion.recursive_diagonal_resolvent(blocks, z).values

    pull = jax.jit(lambda matrix, z, c: jax.vjp(values, matrix, z)[1](c))
    found, found_z = pull(operator.matrix, Z, jnp.asarray(cotangent))
    green = exact(matrix, Z)
    product = np.einsum("eai,ei,eib->ab", green, cotangent, green)
    # a direction that keeps H Hermitian and within its band
    change = banded(n, width, dtype)
    change = change * rng.normal(size=n)[:, None]
    change = change + change.conj().T
    slope = np.sum(product.T * change).real
    assert np.sum(np.asarray(found) * change).real == pytest.approx(slope, rel=1e-10)
    squares = np.diagonal(green @ green, axis1=1, axis2=2)
    np.testing.assert_allclose(found_z, -np.sum(cotangent * squares, 1), rtol=1e-10)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("levels", ["distinct", "degenerate", "nearly degenerate"])
def test_pullback_of_the_sum_over_eigenvectors(dtype, levels):
    """Where autodiff of eigh divides by differences of levels."""
    rotation = np.linalg.eigh(banded(8, 7, dtype))[1]
    energies = np.repeat([-1.0, 0.0, 0.5, 2.0], 2)
    energies = energies + {"distinct": 0.1, "nearly degenerate": 1e-5}.get(
        levels, 0.0
    ) * np.arange(8)
    matrix = (rotation * energies) @ rotation.conj().T
    cotangent = np.random.default_rng(2).normal(size=(9, 8)) + 0j

    def values(matrix):
        return dense_diagonal_resolvent(as_operator(matrix), Z).values

    found = jax.vjp(values, jnp.asarray(matrix))[1](jnp.asarray(cotangent))[0]
    green = exact(matrix, Z)
    product = np.einsum("eai,ei,eib->ab", green, cotangent, green)
    hermitian = 0.5 * (product + product.conj().T)
    expected = hermitian.T if dtype is np.complex128 else hermitian.T.real
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=1e-10 * scale)


def test_hand_written_rule_of_the_sum_over_eigenvectors():
    def values(matrix):
        return dense_diagonal_resolvent(as_operator(matrix), Z).values

    assert check_pullback(values, jnp.asarray(banded(6, 5, np.float64)))


def test_batches_of_energies_change_nothing():
    matrix = banded(12, 2, np.float64)
    blocks_of = jax.tree_util.Partial(
        block_tridiagonal, order=slice_order(as_operator(matrix))
    )

    @partial(jax.jit, static_argnums=1)
    @jax.value_and_grad
    def sum_of_squares(matrix, num_bytes=2**20):
        blocks = blocks_of(as_operator(matrix))
        found = selected_inversion.recursive_diagonal_resolvent(
            blocks, Z, batch_bytes=num_bytes
        )
        return jnp.sum(jnp.abs(found.values) ** 2)

    whole = sum_of_squares(jnp.asarray(matrix))
    four_energies = 4 * 12 * 2 * 16
    parts = sum_of_squares(jnp.asarray(matrix), four_energies)
    np.testing.assert_allclose(parts[0], whole[0], rtol=1e-13)
    np.testing.assert_allclose(parts[1], whole[1], atol=1e-12)


def test_order_is_the_narrower_of_two():
    chain = as_operator(np.eye(9, k=1) + np.eye(9, k=-1))
    assert slice_order(chain).width == 1
    shuffled = as_operator(banded(60, 2, np.float64))
    assert slice_order(shuffled).width <= 4
    lattice = np.eye(5, k=1) + np.eye(5, k=-1)
    square = np.kron(lattice, np.eye(5)) + np.kron(np.eye(5), lattice)
    assert slice_order(as_operator(square)).width == 5


def test_zeros_that_a_derivative_may_change_belong_to_the_pattern():
    """A hopping that is zero has a derivative, so its place is a neighbor's."""

    def width(hopping):
        operator = as_operator(
            lambda t, v: t * (jnp.roll(v, 1) + jnp.roll(v, -1)),
            hopping,
            size=6,
            dtype=float,
        )
        widths.append(slice_order(operator).width)
        return hopping

    widths: list[int] = []
    width(jnp.asarray(0.0))
    jax.grad(width)(jnp.asarray(0.0))
    assert widths == [1, 2]


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize(("n", "width"), [(6, 1), (7, 2)])
def test_hand_written_rule_of_the_sweeps(dtype, n, width):
    """Elements of H are independent here: the rule holds for any matrix."""
    matrix = banded(n, width, dtype)
    order = slice_order(as_operator(matrix))
    z = Z[:3]

    def values(matrix, z):
        blocks = block_tridiagonal(as_operator(matrix), order)
        return selected_inversion.recursive_diagonal_resolvent(blocks, z).values

    assert check_pullback(values, jnp.asarray(matrix), z)
