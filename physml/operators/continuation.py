r"""What a stencil sees beyond the ends of an axis, and beyond those of a rank's block.

Beyond a Dirichlet wall the function is continued as an odd one: the walls are the
indices -1 and n, where it is zero, and the index -1-k stands for minus the index k-1.
Beyond a periodic end it is continued as itself.

On an axis that is divided over ranks, the points beside a block come from its
neighbors: all ranks gather their edges, a few points each. Where blocks are shorter
than the reach of the stencil, they gather the field.
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
    wall = jnp.zeros_like(cut(0, 1))
    left = -jnp.flip(cut(0, reach - 1), axis)
    right = -jnp.flip(cut(n - reach + 1, n), axis)
    return jnp.concatenate([left, wall, field, wall, right], axis)


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
    extend = _from_the_whole if is_short else _from_edges
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


def _from_edges(
    block: jax.Array, line: Line, reach: int, communicator: Communicator
) -> jax.Array:
    division = Division(line.num_points, communicator.size)
    count = division.count(communicator.rank)
    ends = block[:reach], jax.lax.dynamic_slice_in_dim(block, count - reach, reach)
    gathered = communicator.gather(jnp.stack(ends)[None], communicator.size)
    edges = communicator.replicate(gathered)  # (num_ranks, 2, reach, ...)
    before, after = _beyond(edges[:, 0], edges[:, 1], line)
    rank = communicator.rank
    rows = jnp.concatenate([before[rank], block, jnp.zeros_like(after[rank])])
    return jax.lax.dynamic_update_slice_in_dim(rows, after[rank], reach + count, 0)


def _beyond(
    first: jax.Array, last: jax.Array, line: Line
) -> tuple[jax.Array, jax.Array]:
    """Return what lies before and after each block, from the edges of all blocks."""
    if line.is_periodic:
        return jnp.roll(last, 1, axis=0), jnp.roll(first, -1, axis=0)
    wall = jnp.zeros_like(first[0, :1])
    left = jnp.concatenate([-jnp.flip(first[0, :-1], 0), wall])
    right = jnp.concatenate([wall, -jnp.flip(last[-1, 1:], 0)])
    before = jnp.concatenate([left[None], last[:-1]])
    return before, jnp.concatenate([first[1:], right[None]])
