"""Hermitian matrices as functions of vectors: dense, sparse, or a function.

An operator is a pytree whose floating-point leaves may be differentiated. It maps an
array of vectors, shape (..., n), to one of the same shape.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.experimental import sparse as jax_sparse

from physml.failures import expected, expected_type
from physml.pytrees import register_dataclass


@runtime_checkable
class LinearOperator(Protocol):
    """What solvers see of a matrix H of shape (n, n)."""

    @property
    def size(self) -> int:
        """The number of rows, n."""

    @property
    def dtype(self) -> Any:
        """That of the elements: H v has the wider of this and the dtype of v."""

    def __call__(self, vectors: jax.Array, /) -> jax.Array:
        """Return H v for each vector, shape (..., n)."""


@register_dataclass
@dataclass(frozen=True)
class DenseOperator:
    """A matrix, shape (n, n)."""

    matrix: jax.Array

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.matrix.shape[0]

    @property
    def dtype(self) -> Any:
        """That of the matrix."""
        return self.matrix.dtype

    def __call__(self, vectors: jax.Array, /) -> jax.Array:
        """Return H v for each vector, shape (..., n)."""
        matrix, vectors = _promoted(self.matrix, vectors)
        return vectors @ matrix.T


@register_dataclass
@dataclass(frozen=True)
class SparseOperator:
    """Rows of one length: a product reads and never scatters.

    Parameters
    ----------
    columns
        Of the elements of each row, shape (n, width), int32.
    values
        The elements, of the same shape; zeros pad a short row. Equal columns add up.
    """

    columns: jax.Array
    values: jax.Array

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.values.shape[0]

    @property
    def dtype(self) -> Any:
        """That of the elements."""
        return self.values.dtype

    def __call__(self, vectors: jax.Array, /) -> jax.Array:
        """Return H v for each vector, shape (..., n)."""
        values, vectors = _promoted(self.values, vectors)
        rows = jnp.expand_dims(values.T, tuple(range(1, vectors.ndim)))
        terms = [
            row * vectors[..., column]
            for column, row in zip(self.columns.T, rows, strict=True)
        ]
        return reduce(jnp.add, terms)


@partial(register_dataclass, static=("function", "size", "dtype"))
@dataclass(frozen=True)
class FunctionOperator:
    """A function of parameters and vectors, `function(parameters, v)`, v of shape (n,).

    Operators of the same function object share compiled programs.
    """

    function: Callable[[Any, jax.Array], jax.Array]
    parameters: Any
    size: int
    dtype: Any

    def __call__(self, vectors: jax.Array, /) -> jax.Array:
        """Return H v for each vector, shape (..., n)."""
        rows = vectors.reshape(-1, self.size)
        apply = jax.vmap(partial(self.function, self.parameters))
        products = apply(rows)
        if products.shape != rows.shape:
            raise expected(
                f"a function that takes a vector of shape ({self.size},) to another",
                f"one that returns shape {products.shape[1:]}",
                "let it return H v",
            )
        return products.reshape(vectors.shape)


def as_operator(
    matrix: Any,
    parameters: Any = None,
    *,
    size: int | None = None,
    dtype: Any = None,
) -> LinearOperator:
    """Return a matrix in the form that solvers take.

    Parameters
    ----------
    matrix
        An array of shape (n, n), a SciPy sparse matrix, a JAX sparse matrix (the
        elements may be traced, their places not), an operator, or a function: of a
        vector, or of `parameters` and a vector, shape (n,), where parameters are given.
    parameters
        A pytree that a function takes first; its floating-point leaves may be
        differentiated.
    size, dtype
        n and the dtype of the elements of H, for a function.

    Raises
    ------
    ValueError
        If it is not square and not empty, or a function comes without size and dtype.
    TypeError
        For anything else.

    Examples
    --------
    >>> import numpy as np
    >>> as_operator(np.array([[0.0, -1.0], [-1.0, 0.0]]))(np.array([1.0, 2.0]))
    Array([-2., -1.], dtype=float32)
    """
    if isinstance(matrix, LinearOperator):
        return matrix
    if callable(matrix):
        return _from_function(matrix, parameters, size, dtype)
    if scipy.sparse.issparse(matrix):
        return _from_scipy(matrix)
    if isinstance(matrix, jax_sparse.JAXSparse):
        return _from_jax_sparse(matrix)
    array = jnp.asarray(matrix)
    _require_square(array.shape)
    return DenseOperator(_as_inexact(array))


def _from_function(
    function: Callable[..., jax.Array], parameters: Any, size: int | None, dtype: Any
) -> FunctionOperator:
    if size is None or dtype is None:
        raise expected(
            "size and dtype of a function operator",
            f"size {size}, dtype {dtype}",
            "call as_operator(function, size=n, dtype=float)",
        )
    _require_square((size, size))
    apply = _WithoutParameters(function) if parameters is None else function
    return FunctionOperator(
        apply, parameters, size, jnp.zeros((), dtype).dtype
    )  # float64 becomes float32 where it is not enabled


@dataclass(frozen=True)
class _WithoutParameters:
    function: Callable[[jax.Array], jax.Array]

    def __call__(self, parameters: Any, vector: jax.Array) -> jax.Array:
        del parameters
        return self.function(vector)


def _from_scipy(matrix: Any) -> SparseOperator:
    elements = matrix.tocoo()
    return _from_elements(elements.shape, elements.row, elements.col, elements.data)


def _from_jax_sparse(matrix: Any) -> SparseOperator:
    if not isinstance(matrix, jax_sparse.BCOO):
        matrix = matrix.to_bcoo()
    try:
        row, column = np.asarray(matrix.indices).T
    except jax.errors.TracerArrayConversionError:
        raise expected_type(
            "a sparse matrix with known places of its elements",
            "traced indices",
            "convert it outside of jit and trace its data",
        ) from None
    inside = np.flatnonzero((row < matrix.shape[0]) & (column < matrix.shape[1]))
    data = jnp.asarray(matrix.data)[inside]  # JAX pads with indices beyond the end
    return _from_elements(matrix.shape, row[inside], column[inside], data)


def _from_elements(
    shape: tuple[int, ...], row: np.ndarray, column: np.ndarray, data: Any
) -> SparseOperator:
    """Sort elements into rows of one length."""
    _require_square(shape)
    order = np.argsort(row, kind="stable")
    count = np.bincount(row, minlength=shape[0])
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    where = row[order], place
    size = (shape[0], max(int(count.max(initial=0)), 1))
    columns = np.tile(np.arange(shape[0])[:, None], (1, size[1]))  # of what pads a row
    columns[where] = column[order]
    elements = _as_inexact(jnp.asarray(data))[order]
    values = jnp.zeros(size, elements.dtype).at[where].set(elements)
    return SparseOperator(jnp.asarray(columns, jnp.int32), values)


def _promoted(*arrays: jax.Array) -> list[jax.Array]:
    # NumPy's rules: JAX's own raise where promotion is strict
    dtype = np.result_type(*(array.dtype for array in map(jnp.asarray, arrays)))
    return [jnp.asarray(array, dtype) for array in arrays]


def _as_inexact(array: jax.Array) -> jax.Array:
    if jnp.issubdtype(array.dtype, jnp.inexact):
        return array
    return array.astype(float)


def _require_square(shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise expected(
            "a square matrix of at least one row",
            f"shape {tuple(shape)}",
            "pass a Hamiltonian on n sites as (n, n)",
        )
