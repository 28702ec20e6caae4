r"""Items divided over ranks: contiguous blocks, padded to one length.

Rank r of R holds the items

.. math:: s_r \le i < s_r + c_r, \qquad c_r = \lfloor n/R \rfloor + [r < n \bmod R] ,
          \qquad s_r = r \lfloor n/R \rfloor + \min(r, n \bmod R) .

One program runs on all ranks, so all blocks have the shape of the longest one; a mask
says which entries are its items. What pads a block are items of other ranks, so that a
function of the items is finite there, too: drop it by `jnp.sum(..., where=mask)`.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected
from physml.pytrees import register_dataclass

Rank = int | jax.Array


@dataclass(frozen=True)
class Division:
    """The division of items over ranks; a rank may be a traced integer.

    Parameters
    ----------
    num_items
        How many, from zero; there may be fewer than ranks.
    num_ranks
        Over how many ranks.

    Examples
    --------
    >>> division = Division(num_items=7, num_ranks=3)
    >>> [int(division.count(rank)) for rank in range(3)]
    [3, 2, 2]
    >>> division.indices(2), division.mask(2)
    (Array([5, 6, 6], dtype=int32), Array([ True,  True, False], dtype=bool))
    """

    num_items: int
    num_ranks: int

    def __post_init__(self) -> None:
        """Refuse what cannot be divided."""
        if self.num_items < 0 or self.num_ranks < 1:
            raise expected(
                "num_items >= 0 and num_ranks >= 1",
                f"{self.num_items} items on {self.num_ranks} ranks",
                "count the items first",
            )

    @property
    def length(self) -> int:
        """The length of every block with its padding."""
        return -(-self.num_items // self.num_ranks)

    def start(self, rank: Rank) -> jax.Array:
        """Return the index of the first item of a rank."""
        quotient, remainder = divmod(self.num_items, self.num_ranks)
        return rank * quotient + jnp.minimum(rank, remainder)

    def count(self, rank: Rank) -> jax.Array:
        """Return how many items a rank has."""
        quotient, remainder = divmod(self.num_items, self.num_ranks)
        return quotient + (jnp.asarray(rank) < remainder).astype(int)

    def indices(self, rank: Rank) -> jax.Array:
        """Return the global index of each entry of a block, shape (length,)."""
        last = max(self.num_items - 1, 0)
        return jnp.minimum(self.start(rank) + jnp.arange(self.length), last)

    def mask(self, rank: Rank) -> jax.Array:
        """Return True for items, False for padding, shape (length,)."""
        return jnp.arange(self.length) < self.count(rank)


@register_dataclass
@dataclass(frozen=True)
class Divided:
    """Data of which each rank sees its own block, made by `Communicator.divide`.

    Inside the program of a rank the leaves of `values` have shape (length, ...).
    """

    values: Any
    mask: jax.Array  # (length,): False where the block is padded


def item_keys(key: jax.Array, indices: jax.Array) -> jax.Array:
    """Return a random key for each item, whatever rank holds it.

    Parameters
    ----------
    key
        A random key, the same on all ranks.
    indices
        Global indices of the items, as of `Division.indices`.
    """
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, indices)


def division_of(tree: Any, num_ranks: int) -> Division:
    """Return the division of arrays along their common first axis."""
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(tree)]
    lengths = {shape[0] if shape else -1 for shape in shapes}
    if len(lengths) != 1 or -1 in lengths:
        raise expected(
            "arrays with a common first axis",
            f"shapes {shapes}",
            "give each array one row for each item",
        )
    return Division(lengths.pop(), num_ranks)


def block_of(tree: Any, division: Division, rank: int) -> Divided:
    """Return the block of one rank, padded."""
    indices = np.asarray(division.indices(rank))
    values = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)[indices]), tree)
    return Divided(values, division.mask(rank))
