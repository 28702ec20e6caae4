"""Every way to write a matrix gives the same products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax.experimental import sparse as jax_sparse

from physml.operators import LinearOperator, as_operator

N = 7


def hermitian(dtype):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(N, N)) * (rng.random((N, N)) < 0.5)
    if np.issubdtype(dtype, np.complexfloating):
        matrix = matrix + 1j * rng.normal(size=(N, N)) * (rng.random((N, N)) < 0.5)
    return (matrix + matrix.conj().T).astype(dtype)


FORMS = {
    "dense": as_operator,
    "scipy": lambda matrix: as_operator(scipy.sparse.csr_array(matrix)),
    "bcoo": lambda matrix: as_operator(jax_sparse.BCOO.fromdense(matrix)),
    "bcsr": lambda matrix: as_operator(jax_sparse.BCSR.fromdense(matrix)),
    "function": lambda matrix: as_operator(
        lambda v: jnp.asarray(matrix) @ v.astype(matrix.dtype),
        size=N,
        dtype=matrix.dtype,
    ),
    "parametrized": lambda matrix: as_operator(
        lambda m, v: m @ v.astype(m.dtype),
        jnp.asarray(matrix),
        size=N,
        dtype=matrix.dtype,
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_products_are_those_of_the_matrix(form, dtype):
    matrix = hermitian(dtype)
    operator = FORMS[form](matrix)
    vectors = jnp.asarray(np.random.default_rng(1).normal(size=(2, 3, N)))
    assert isinstance(operator, LinearOperator)
    assert (operator.size, operator.dtype) == (N, dtype)
    exact = np.asarray(vectors) @ matrix.T
    np.testing.assert_allclose(operator(vectors), exact, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(lambda v: operator(v)))(vectors), exact, rtol=1e-14, atol=1e-14
    )


def test_elements_of_a_jax_sparse_matrix_may_be_traced():
    matrix = jax_sparse.BCOO.fromdense(hermitian(np.float64))

    def quadratic_form(data):
        operator = as_operator(jax_sparse.BCOO((data, matrix.indices), shape=(N, N)))
        return jnp.sum(operator(jnp.ones(N)))

    np.testing.assert_array_equal(jax.jit(jax.grad(quadratic_form))(matrix.data), 1.0)


@pytest.mark.parametrize("shape", [(2, 3), (0, 0), (4,)])
def test_refuses_what_is_not_square(shape):
    with pytest.raises(ValueError, match="Expected a square matrix"):
        as_operator(np.zeros(shape))


def test_a_function_needs_its_size():
    with pytest.raises(ValueError, match=r"size=n, dtype=float"):
        as_operator(lambda v: v)


def test_a_row_may_be_empty():
    operator = as_operator(scipy.sparse.csr_array((3, 3)))
    np.testing.assert_array_equal(operator(jnp.ones(3)), 0.0)


def test_what_pads_a_jax_sparse_matrix_is_left_out():
    matrix = jnp.array([[0.0, 2.0], [2.0, 1.0]])
    padded = jax_sparse.BCOO.fromdense(matrix, nse=6)  # its indices lie outside
    np.testing.assert_array_equal(as_operator(padded)(jnp.eye(2)), matrix)
