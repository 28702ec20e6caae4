"""The matrix of an operator, outside of jit, as a SciPy sparse matrix."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from physml.failures import expected_type
from physml.operators.linear_operator import (
    DenseOperator,
    LinearOperator,
    SparseOperator,
)
from physml.tracing import is_traced

BATCH_ELEMENTS = 2**22  # of the products of one batch: 32 MB in float64


def to_sparse(operator: LinearOperator) -> scipy.sparse.csr_array:
    """Return the elements of an operator that are not zero.

    An operator with a method `to_sparse` is asked, a matrix is read, anything else is
    applied to unit vectors in batches, which costs n products.

    Parameters
    ----------
    operator
        A matrix of shape (n, n) with known elements.

    Returns
    -------
    scipy.sparse.csr_array
        Shape (n, n), columns sorted, without stored zeros.

    Raises
    ------
    TypeError
        If the elements are traced.

    Examples
    --------
    >>> from physml.operators import as_operator
    >>> to_sparse(as_operator([[0.0, -1.0], [-1.0, 0.0]])).nnz
    2
    """
    if is_traced(operator):
        raise expected_type(
            "an operator with known elements",
            "traced ones",
            "call to_sparse outside of jit and grad",
        )
    matrix = scipy.sparse.csr_array(_elements(operator), copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _elements(operator: Any) -> Any:
    if hasattr(operator, "to_sparse"):
        return operator.to_sparse()
    if isinstance(operator, DenseOperator):
        return np.asarray(operator.matrix)
    if isinstance(operator, SparseOperator):
        return _from_rows(operator)
    return _from_products(operator)


def _from_rows(operator: SparseOperator) -> scipy.sparse.csr_array:
    size, width = operator.values.shape
    columns, values = np.asarray(operator.columns), np.array(operator.values)
    starts = np.arange(size + 1) * width
    return scipy.sparse.csr_array(
        (values.ravel(), columns.ravel(), starts), shape=(size, size)
    )


def _from_products(operator: LinearOperator) -> scipy.sparse.csr_array:
    size = operator.size
    length = min(size, max(1, BATCH_ELEMENTS // size))
    apply = jax.jit(
        lambda rows: operator(jax.nn.one_hot(rows, size, dtype=operator.dtype))
    )
    batches = [
        scipy.sparse.csr_array(np.asarray(apply(jnp.arange(start, start + length))))
        for start in range(0, size, length)
    ]  # row j of a batch is H e_j, column j of H
    return scipy.sparse.csr_array(scipy.sparse.vstack(batches).tocsr()[:size].T)
