r"""An order of the sites in which a sparse operator is block tridiagonal.

.. math::

    H = \begin{pmatrix} D_0 & U_0 \\ L_0 & D_1 & U_1 \\ & L_1 & \ddots \end{pmatrix}

Sites are put in the reverse Cuthill-McKee order (E. Cuthill and J. McKee, Proc. 24th
ACM Conf., 157 (1969)), or left in their own if that has the smaller bandwidth w, and
cut into slices of w sites: a site is then joined to its own slice and the next ones.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from physml.operators import LinearOperator, to_sparse
from physml.pytrees import register_dataclass
from physml.tracing import is_traced

NUM_COLORS = 3  # slices k and k + 3 have no neighboring slice in common


@partial(register_dataclass, static=("width",))
@dataclass(frozen=True)
class SliceOrder:
    """The sites in the order of the slices.

    Parameters
    ----------
    sites
        The site at each place, shape (n,).
    width
        Number of sites in a slice; the last one may be filled up.
    """

    sites: jax.Array | np.ndarray
    width: int

    @property
    def num_slices(self) -> int:
        """How many slices there are."""
        return -(-self.sites.shape[0] // self.width)


@register_dataclass
@dataclass(frozen=True)
class BlockTridiagonal:
    """Blocks of a matrix; what fills up the last slice is zero.

    Parameters
    ----------
    diagonal
        D_k, shape (num_slices, width, width).
    upper, lower
        U_k from slice k + 1 to k and L_k back, of the same shape; the last are zero.
    order
        Which sites the slices hold.
    """

    diagonal: jax.Array
    upper: jax.Array
    lower: jax.Array
    order: SliceOrder


def slice_order(operator: LinearOperator) -> SliceOrder:
    """Find an order of the sites with narrow slices, outside of jit.

    Parameters
    ----------
    operator
        A Hermitian operator. Where elements are traced, by `jax.grad` for example, any
        that may differ from zero counts; integers must be known.

    Examples
    --------
    >>> from physml.operators import as_operator
    >>> ring = np.roll(np.eye(6), 1, 0) + np.roll(np.eye(6), -1, 0)
    >>> slice_order(as_operator(ring)).width
    2
    """
    with jax.ensure_compile_time_eval():
        pattern = to_sparse(jax.tree.map(_known, operator))
    pattern = scipy.sparse.csr_array(abs(pattern) + abs(pattern).T)
    size = operator.size
    sites = scipy.sparse.csgraph.reverse_cuthill_mckee(pattern, symmetric_mode=True)
    orders = (np.arange(size), np.asarray(sites))
    widths = [_bandwidth(pattern, order) for order in orders]
    best = int(np.argmin(widths))
    return SliceOrder(orders[best], max(widths[best], 1))


def block_tridiagonal(operator: LinearOperator, order: SliceOrder) -> BlockTridiagonal:
    """Return the blocks of an operator, which is applied to 3 w vectors.

    A vector is one at the same place of every third slice, so that each element of the
    product has one origin. Differentiable with respect to the operator.

    Parameters
    ----------
    operator
        Without elements beyond the neighboring slices; such are not seen.
    order
        As `slice_order` finds it.
    """
    size, width, num_slices = operator.size, order.width, order.num_slices
    num_colors = min(NUM_COLORS, num_slices)
    place = jnp.arange(size)
    color = (place // width) % NUM_COLORS * width + place % width
    sites = jnp.asarray(order.sites)
    probes = jnp.zeros((num_colors * width, size), operator.dtype)
    products = operator(probes.at[color, sites].set(1))[:, sites]
    filled = jnp.pad(products, ((0, 0), (0, num_slices * width - size)))
    elements = filled.reshape(num_colors, width, num_slices, width)
    k = jnp.arange(num_slices)
    blocks = [
        elements[(k + step) % NUM_COLORS % num_colors, :, k].mT for step in (0, 1, -1)
    ]  # (num_slices, width, width): H_k,k, H_k,k+1, H_k,k-1
    diagonal, upper, lower = blocks
    upper = upper.at[-1].set(0)
    lower = jnp.concatenate([lower[1:], jnp.zeros_like(lower[:1])])
    return BlockTridiagonal(diagonal, upper, lower, order)


class Slice(NamedTuple):
    """One slice and its way to a neighbor, blocks of shape (1, w, w), for scans."""

    unit: jax.Array  # of the sites; zero where the slice is filled up
    diagonal: jax.Array  # D_k; -1 where the slice is filled up
    upper: jax.Array
    lower: jax.Array


def padded_slices(blocks: BlockTridiagonal, dtype: jnp.dtype) -> Slice:
    """Prepare the blocks for scans: one axis for z, and filling that has an inverse."""
    num_slices, width, _ = blocks.diagonal.shape
    is_site = jnp.arange(num_slices * width) < blocks.order.sites.shape[0]
    is_site = is_site.reshape(num_slices, width, 1)
    eye = jnp.eye(width, dtype=dtype)[None]
    unit = jnp.where(is_site, eye, 0)
    diagonal = blocks.diagonal.astype(dtype) - (eye - unit)
    ways = (x.astype(dtype)[:, None] for x in (blocks.upper, blocks.lower))
    return Slice(unit[:, None], diagonal[:, None], *ways)


def to_the_left(slices: Slice) -> Slice:
    """Give to each slice the way to its left neighbor, U_k-1 and L_k-1."""
    upper, lower = (jnp.roll(x, 1, 0) for x in (slices.upper, slices.lower))
    return slices._replace(upper=upper, lower=lower)


def inverted(matrix: jax.Array) -> jax.Array:
    """Return the inverses of blocks, (..., w, w)."""
    return 1 / matrix if matrix.shape[-1] == 1 else jnp.linalg.inv(matrix)


def product(left: jax.Array, right: jax.Array) -> jax.Array:
    """Return the product of blocks, (..., w, w), with others, (..., w, m)."""
    # numbers are multiplied within a loop over z that also adds and inverts them
    return left * right if left.shape[-1] == 1 else left @ right


def _known(leaf: Any) -> Any:
    """Replace traced numbers by random ones: what matters is where zeros must be."""
    if not is_traced(leaf) or not jnp.issubdtype(leaf.dtype, jnp.inexact):
        return leaf
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.uniform(1.0, 2.0, leaf.shape), leaf.dtype)


def _bandwidth(pattern: scipy.sparse.csr_array, order: np.ndarray) -> int:
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    row, column = pattern.nonzero()
    return int(np.abs(place[row] - place[column]).max(initial=0))
