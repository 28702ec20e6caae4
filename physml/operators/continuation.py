r"""What a stencil sees beyond the ends of an axis, and beyond those of a rank's block.

Beyond a Dirichlet wall the function is continued as an odd one: the walls are the
indices -1 and n, where it is zero, and the index -1-k stands for minus the index k-1.
Beyond a periodic end it is continued as itself.

On an axis that is divided over ranks, the points beside a block come from its two
neighbors, a few points from each. Where blocks are shorter than the reach of the
stencil, all ranks gather the field.
"""

from functools import partial

import jax
import jax.numpy as jnp

from physml.lattices.grid import Line
from physml.parallel import Communicator, Division


def extended(field: jax.Array, axis: int, line: Line, reach: int) -> jax.Array:
    """Add `reach` points at both ends of an axis.

    Parameters
    ----------
    field
        All points of the line along the axis.
    axis
        Which one.
    line
        Where the points lie.
    reach
        How many points to add at each end, no more than there are.
    """
    n = line.num_points
    cut = partial(jax.lax.slice_in_dim, field, axis=axis)
    if line.is_periodic:
        return jnp.concatenate([cut(n - reach, n), field, cut(0, reach)], axis)
    left = _beyond_left_wall(cut(0, reach), axis)
    right = _beyond_right_wall(cut(n - reach, n), axis)
    return jnp.concatenate([left, field, right], axis)


def extended_block(
    field: jax.Array, axis: int, line: Line, reach: int, communicator: Communicator
) -> jax.Array:
    """Add the `reach` points beside the block of a rank.

    Parameters
    ----------
    field
        The points of the block along the axis, padding included.
    axis, line, reach
        See `extended`.
    communicator
        The ranks over which the line is divided.

    Returns
    -------
    The block's items begin at the index `reach`, the points beyond follow the last
    item; what follows them, in a padded block, has no meaning.
    """
    block = jnp.moveaxis(field, axis, 0)
    is_short = line.num_points // communicator.size < reach
    extend = _from_the_whole if is_short else _from_neighbors
    return jnp.moveaxis(extend(block, line, reach, communicator), 0, axis)


def _from_the_whole(
    block: jax.Array, line: Line, reach: int, communicator: Communicator
) -> jax.Array:
    division = Division(line.num_points, communicator.size)
    whole = communicator.replicate(communicator.gather(block, line.num_points))
    rows = extended(whole, 0, line, reach)
    rows = jnp.concatenate([rows, jnp.zeros_like(rows[:1])])  # for a padded last block
    start = division.start(communicator.rank)
    return jax.lax.dynamic_slice_in_dim(rows, start, division.length + 2 * reach)


def _from_neighbors(
    block: jax.Array, line: Line, reach: int, communicator: Communicator
) -> jax.Array:
    division = Division(line.num_points, communicator.size)
    rank, count = communicator.rank, division.count(communicator.rank)
    first = block[:reach]
    last = jax.lax.dynamic_slice_in_dim(block, count - reach, reach)
    before, after = communicator.shift(last, 1), communicator.shift(first, -1)
    if not line.is_periodic:
        before = jnp.where(rank == 0, _beyond_left_wall(first, 0), before)
        is_last = rank == communicator.size - 1
        after = jnp.where(is_last, _beyond_right_wall(last, 0), after)
    rows = jnp.concatenate([before, block, jnp.zeros_like(after)])
    return jax.lax.dynamic_update_slice_in_dim(rows, after, reach + count, 0)


def _beyond_left_wall(first: jax.Array, axis: int) -> jax.Array:
    """Return the odd continuation of the first points of a line, and its wall."""
    cut = partial(jax.lax.slice_in_dim, first, axis=axis)
    wall = jnp.zeros_like(cut(0, 1))
    return jnp.concatenate([-jnp.flip(cut(0, first.shape[axis] - 1), axis), wall], axis)


def _beyond_right_wall(last: jax.Array, axis: int) -> jax.Array:
    return jnp.flip(_beyond_left_wall(jnp.flip(last, axis), axis), axis)
