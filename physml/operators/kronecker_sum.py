r"""Two parts that know of each other only through a diagonal.

.. math:: H = A \otimes 1 + 1 \otimes B + D .

A vector is a matrix psi, a row for each state of the first part, and
:math:`H \psi = A \psi + \psi B^T + D \circ \psi`: two small products of matrices.
Electrons of both spins with a local interaction are such a pair.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from physml.pytrees import register_dataclass


@register_dataclass
@dataclass(frozen=True)
class KroneckerSum:
    """A x 1 + 1 x B + D, of size n m.

    Parameters
    ----------
    first, second
        A and B, Hermitian, shapes (n, n) and (m, m).
    diagonal
        D, real, shape (n, m).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> matrix = jnp.array([[0.0, 1.0], [1.0, 0.0]])
    >>> operator = KroneckerSum(matrix, matrix, jnp.diag(jnp.array([0.0, 2.0])))
    >>> operator(jnp.array([0.0, 0.0, 0.0, 1.0])).tolist()
    [0.0, 1.0, 1.0, 2.0]
    """

    first: jax.Array
    second: jax.Array
    diagonal: jax.Array

    @property
    def _arrays(self) -> tuple[jax.Array, ...]:
        return self.first, self.second, self.diagonal

    @property
    def size(self) -> int:
        """The number of rows, n m."""
        return self.diagonal.size

    @property
    def dtype(self) -> Any:
        """That of the elements."""
        return np.result_type(*(a.dtype for a in self._arrays))  # NumPy's rules

    def __call__(self, vectors: jax.Array, /) -> jax.Array:
        """Return H v for each vector, shape (..., n m)."""
        psi = vectors.reshape(*vectors.shape[:-1], *self.diagonal.shape)
        dtype = np.result_type(self.dtype, psi.dtype)
        arrays = (array.astype(dtype) for array in (*self._arrays, psi))
        first, second, diagonal, psi = arrays
        product = first @ psi + psi @ second.T
        product += jnp.expand_dims(diagonal, tuple(range(psi.ndim - 2))) * psi
        return product.reshape(vectors.shape)
