r"""Solutions of block tridiagonal systems, and elements of the resolvent from them.

The sweeps of `physml.solvers.selected_inversion` take a vector b along. With the
self-energies of the slices on either side, and what these hand on of b,

.. math:: y^<_{k+1} &= L_k (z - D_k - \Sigma^<_k)^{-1} (b_k + y^<_k) , \\
          y^>_{k-1} &= U_{k-1} (z - D_k - \Sigma^>_k)^{-1} (b_k + y^>_k) , \\
          x_k &= G_{kk}(z) \, (b_k + y^<_k + y^>_k)

solves :math:`(z - H) x = b`, and nothing cancels near the real axis. Time: three
inversions of w x w for each slice and z. Memory: n (w + 3) numbers for each z of a
batch and one b.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.operators.linear_operator import LinearOperator
from physml.solvers.block_tridiagonal import (
    Slice,
    SliceOrder,
    block_tridiagonal,
    inverted,
    padded_slices,
    product,
    to_the_left,
)
from physml.solvers.selected_inversion import BATCH_BYTES, in_batches
from physml.solvers.shifted_elements import ShiftedElements, direct_elements
from physml.solvers.vector_rows import row_elements


@jax.jit
def recursive_elements(
    order: SliceOrder,
    operator: LinearOperator,
    shifts: jax.Array,
    columns: jax.Array,
    rows: jax.Array | None = None,
    *,
    tolerance: float | jax.Array = 1e-10,
    max_iterations: int | jax.Array,
) -> ShiftedElements:
    """Return <u|(z - H)^-1|b> for all shifts, rows and columns, from full solutions.

    Parameters
    ----------
    order
        Of the sites, as `slice_order` finds it.
    operator, shifts, columns, rows, tolerance
        As for `physml.solvers.reduced_shifted_krylov`. Near to the real axis inside of
        the spectrum a part of the system may be singular by chance: the residual tells.
    max_iterations
        Not used.

    Returns
    -------
    The elements, with true residuals.
    """
    del max_iterations
    dtype = np.result_type(operator.dtype, shifts.dtype, columns.dtype)
    slices = padded_slices(block_tridiagonal(operator, order), dtype)
    vectors = columns.reshape(-1, operator.size).astype(dtype)
    solve = partial(_solutions, slices, order, vectors)

    def of_batch(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = solve(z)  # (num_columns, num_z, n)
        return _elements(rows, vectors, x), _residuals(operator, z, vectors, x)

    each = operator.size * (order.width + 3 * len(vectors)) * dtype.itemsize
    batch = max(1, BATCH_BYTES // each)
    value, residual = in_batches(of_batch, shifts.astype(dtype), batch)
    shape = columns.shape[:-1]
    is_finite = jnp.all(jnp.isfinite(slices.diagonal))
    return direct_elements(
        value.reshape(*shape, *value.shape[1:]),
        residual.reshape(*shape, *residual.shape[1:]),
        tolerance,
        is_finite,
    )


class _Side(NamedTuple):
    """What the slices on one side hand on to their neighbor."""

    sigma: jax.Array  # Sigma, (num_z, w, w)
    carried: jax.Array  # y, (num_z, w, num_columns)


def _solutions(
    slices: Slice, order: SliceOrder, vectors: jax.Array, z: jax.Array
) -> jax.Array:
    """Return x for each column and z, (num_columns, num_z, n)."""
    z = z[:, None, None]
    num_columns, size = vectors.shape
    sites = jnp.asarray(order.sites)
    filled = jnp.pad(vectors[:, sites], ((0, 0), (0, -size % order.width)))
    b = jnp.moveaxis(filled.reshape(num_columns, -1, order.width), 0, -1)[:, None]
    start = _Side(
        jnp.zeros((len(z), order.width, order.width), z.dtype),
        jnp.zeros((len(z), order.width, num_columns), z.dtype),
    )

    def there(left: _Side, x: tuple[Slice, jax.Array]) -> tuple[_Side, _Side]:
        here, b = x
        inverse = inverted(z * here.unit - here.diagonal - left.sigma)
        return _handed_on(here.lower, inverse, here.upper, b + left.carried), left

    def back(
        right: _Side, x: tuple[Slice, jax.Array, _Side]
    ) -> tuple[_Side, jax.Array]:
        here, b, left = x
        alone = z * here.unit - here.diagonal
        resolvent = inverted(alone - left.sigma - right.sigma)
        solution = product(resolvent, b + left.carried + right.carried)
        inverse = inverted(alone - right.sigma)
        following = _handed_on(here.upper, inverse, here.lower, b + right.carried)
        return following, solution

    _, left = jax.lax.scan(there, start, (slices, b))
    _, x = jax.lax.scan(back, start, (to_the_left(slices), b, left), reverse=True)
    x = jnp.transpose(x, (3, 1, 0, 2))  # (num_columns, num_z, num_slices, w)
    return x.reshape(num_columns, len(z), -1)[..., jnp.argsort(sites)]


def _handed_on(
    there: jax.Array, inverse: jax.Array, back: jax.Array, vectors: jax.Array
) -> _Side:
    """Return Sigma and y of the next slice, from the inverse of a slice and b + y."""
    sigma = product(there, product(inverse, back))
    return _Side(sigma, product(there, product(inverse, vectors)))


def _elements(
    rows: jax.Array | None, vectors: jax.Array, solutions: jax.Array
) -> jax.Array:
    """Return <u|x>, (num_columns, num_z, m)."""
    if rows is None:
        overlap = jnp.sum(vectors.conj()[:, None] * solutions, axis=-1)
        return overlap[..., None]
    return row_elements(rows, solutions)


def _residuals(
    operator: LinearOperator, z: jax.Array, vectors: jax.Array, solutions: jax.Array
) -> jax.Array:
    """Return |b - (z - H) x| / |b|, (num_columns, num_z)."""
    difference = vectors[:, None] - z[None, :, None] * solutions + operator(solutions)
    norm = jnp.linalg.norm(vectors, axis=-1)[:, None]
    residual = jnp.linalg.norm(difference, axis=-1)
    return residual / jnp.where(norm > 0, norm, 1)
