"""The matrix of an operator, whatever it is made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from physml.operators import SparseOperator, as_operator, sparse_matrix, to_sparse

MATRIX = np.array([[1.0, 2j, 0.0], [-2j, 0.0, 0.5], [0.0, 0.5, 0.0]])


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array])
def test_stored_matrices(form):
    matrix = to_sparse(as_operator(form(MATRIX)))
    np.testing.assert_array_equal(matrix.toarray(), MATRIX)
    assert matrix.nnz == 5
    assert matrix.has_sorted_indices


def test_equal_columns_add_up():
    columns = jnp.array([[0, 0, 1], [1, 0, 0]], jnp.int32)
    matrix = to_sparse(SparseOperator(columns, jnp.arange(6.0).reshape(2, 3)))
    np.testing.assert_array_equal(matrix.toarray(), [[1, 2], [9, 3]])


@pytest.mark.parametrize("length", [1, 2, 3, 100])
def test_a_function_is_applied_in_batches(monkeypatch, length):
    monkeypatch.setattr(sparse_matrix, "BATCH_ELEMENTS", 3 * length)
    operator = as_operator(lambda v: jnp.asarray(MATRIX) @ v, size=3, dtype=complex)
    np.testing.assert_array_equal(to_sparse(operator).toarray(), MATRIX)


def test_traced_elements_are_refused():
    with pytest.raises(TypeError, match="an operator with known elements"):
        jax.jit(lambda m: to_sparse(as_operator(m)))(jnp.eye(2))
