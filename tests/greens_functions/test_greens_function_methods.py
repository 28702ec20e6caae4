"""All methods for elements of Green's functions: they agree, and so do derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.failures import RunFailure
from physml.greens_functions import greens_function
from physml.greens_functions.element_problem import element_problem
from physml.greens_functions.method_choice import choose_method
from physml.hamiltonians import tight_binding
from physml.lattices import chain, square
from physml.operators import as_operator

METHODS = ("krylov", "recursive", "dense", "kernel_polynomial")
SIZE, COLUMN = 12, 3
Z = np.linspace(-3, 3, 5) + np.array([0.3, -0.3, 0.4, 0.3, 1]) * 1j


def banded(is_complex):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(SIZE, SIZE))
    if is_complex:
        matrix = matrix + 1j * rng.normal(size=(SIZE, SIZE))
    return np.triu(np.tril(matrix + matrix.conj().T, 2), -2) / 2


def rows(name):
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(2, SIZE)) + 1j * rng.normal(size=(2, SIZE))
    return {"column": None, "site": 7, "sites": [9, 0], "vectors": vectors}[name]


def inverse(matrix, z=Z):
    return np.linalg.inv(np.asarray(z)[:, None, None] * np.eye(SIZE) - matrix)


def exact(matrix, row):
    solutions = inverse(matrix)[..., COLUMN]
    if row is None:
        return solutions[:, COLUMN]
    is_vectors = np.issubdtype(np.asarray(row).dtype, np.inexact)
    return solutions @ row.conj().T if is_vectors else solutions[:, row]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("row", ["column", "site", "sites", "vectors"])
def test_elements_are_those_of_the_inverse(method, is_complex, row):
    matrix, row = banded(is_complex), rows(row)
    found = greens_function(matrix, Z, row=row, column=COLUMN, method=method)
    np.testing.assert_allclose(found.value, exact(matrix, row), atol=3e-10)
    assert found.method == method
    assert found.converged.all()
    assert (found.num_iterations.max() == 0) == (method in ("recursive", "dense"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("row", ["column", "vectors"])
def test_derivatives_are_those_of_the_inverse(method, row):
    """DG = <u|R dH R|b> and dG/dz = -<u|R R|b>, under jit and vmap."""
    matrix, row = banded(is_complex=True), rows(row)
    rng = np.random.default_rng(2)
    route = "auto" if method in ("recursive", "dense") else "chebyshev"
    shape = exact(matrix, row).shape
    weight = jnp.asarray(rng.normal(size=shape) + 1j * rng.normal(size=shape))

    def loss(matrix, z):
        hermitian = (matrix + matrix.conj().T) / 2
        found = greens_function(
            hermitian, z, row=row, column=COLUMN, method=method, derivative=route
        )
        return jnp.sum(weight * found.value).real

    gradient = jax.vmap(jax.grad(loss, argnums=(0, 1)), in_axes=(0, None))
    found = jax.jit(gradient)(jnp.asarray(matrix)[None], jnp.asarray(Z))
    of_matrix, of_z = (x[0] for x in found)
    green = inverse(matrix)
    u = np.eye(SIZE)[COLUMN][None] if row is None else row.conj()
    left = np.einsum("zm,mi,zij->zj", np.asarray(weight).reshape(5, -1), u, green)
    product = np.einsum("zj,zk->jk", left, green[..., COLUMN])
    hermitian = (product + product.conj().T) / 2
    np.testing.assert_allclose(of_matrix, hermitian, atol=1e-8)
    slope = -np.einsum("zj,zj->z", left, green[..., COLUMN])
    np.testing.assert_allclose(of_z, slope, atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_true_residuals_are_not_above_what_is_promised(method):
    found = greens_function(
        banded(True), Z, row=[1], column=COLUMN, method=method, true_residuals=True
    )
    assert (found.true_residual <= found.relative_residual + 1e-13).all()


@pytest.mark.parametrize("method", METHODS)
def test_z_that_cannot_be_reached_is_named(method):
    """An eigenvalue, in one sentence for all; another z beside it is well."""
    matrix = banded(is_complex=False)
    z = np.array([np.linalg.eigvalsh(matrix)[4], 2j])
    call = {"column": COLUMN, "method": method, "max_iterations": 60}
    with pytest.raises(
        (ValueError, RunFailure), match=r"1 of 2 shifts .* z = .*residual"
    ):
        greens_function(matrix, z, **call)
    found = greens_function(matrix, z, **call, on_failure="return")
    np.testing.assert_array_equal(found.converged, [False, True])


def test_a_chebyshev_series_needs_z_off_the_spectrum():
    with pytest.raises(RunFailure, match=r"on the interval .* take another method"):
        greens_function(
            banded(True), [0.0], column=0, method="kernel_polynomial", max_iterations=9
        )


def test_what_is_nan_inside_of_jit_is_not_taken_for_an_eigenvalue():
    for method in METHODS:
        found = jax.jit(
            lambda v, method=method: greens_function(
                v * jnp.eye(3), jnp.array([1j]), column=0, method=method
            )
        )(jnp.nan)
        assert found.is_not_finite, method
        assert not found.converged.any()


def chosen(operator, z):
    problem = element_problem(as_operator(operator), z, None, 0, 1e-10)
    return choose_method("auto", problem).name


def test_a_long_chain_is_swept_off_the_real_axis():
    long = tight_binding(chain(3000), boundary="open")
    assert chosen(long, [0.1 + 1e-4j]) == "recursive"
    assert chosen(long, [0.1]) != "recursive"  # on the axis a part may be singular


def test_other_choices_follow_what_is_asked_for():
    large = tight_binding(square(60, 60), boundary="open")
    assert chosen(large, [8.0]) in ("krylov", "kernel_polynomial")
    assert chosen(np.ones((30, 30)), np.linspace(0, 9, 4000) + 1e-3j) == "dense"


def test_a_series_that_is_known_to_be_too_long_is_not_begun():
    """A hundred billion moments; z beside it is done at once."""
    z, call = [2j, 0.1 + 1e-9j], {"column": COLUMN, "method": "kernel_polynomial"}
    found = greens_function(banded(False), z, **call, on_failure="return")
    np.testing.assert_array_equal(found.converged, [True, False])
    assert found.num_iterations.max() < 100
    with pytest.raises(RunFailure, match=r"very near to it, .* take another method"):
        greens_function(banded(False), z, **call)
