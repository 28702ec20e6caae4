"""Linear maps between ranks, each with its transpose, as one primitive of JAX.

What carries the data has rules of its own for derivatives, and they are those of other
conventions: `jax.lax.psum` is its own transpose, which counts a gradient once for each
rank; mpi4jax refuses forward mode. Here a map is given with its transpose, and jvp,
vmap, reverse mode and all that is made of them follow.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Transfer = Callable[[jax.Array], jax.Array]

_between_ranks = Primitive("between_ranks")


def transfer(vector: jax.Array, forward: Transfer, backward: Transfer) -> jax.Array:
    """Apply a linear map between ranks.

    Parameters
    ----------
    vector
        An array; the result has the same shape and dtype.
    forward
        The map, the same for each entry of an array of any shape. It must be the same
        object in each call: programs are compiled again for another one.
    backward
        Its transpose, if arrays of all ranks are taken as one vector.
    """
    return _between_ranks.bind(vector, forward=forward, backward=backward)


def _lower(vector: jax.Array, *, forward: Transfer, backward: Transfer) -> jax.Array:
    del backward
    return forward(vector)


def _abstract(vector: Any, *, forward: Transfer, backward: Transfer) -> tuple[Any, Any]:
    del backward
    return vector, jax.make_jaxpr(forward)(vector).effects  # MPI keeps its order


def _transpose(
    cotangent: jax.Array, _: Any, *, forward: Transfer, backward: Transfer
) -> list[jax.Array]:
    return [transfer(cotangent, backward, forward)]


def _batch(arguments: Any, axes: Any, **maps: Transfer) -> tuple[jax.Array, int]:
    return _between_ranks.bind(*arguments, **maps), axes[0]


_between_ranks.def_effectful_abstract_eval(_abstract)
mlir.register_lowering(_between_ranks, mlir.lower_fun(_lower, multiple_results=False))
ad.deflinear2(_between_ranks, _transpose)
batching.primitive_batchers[_between_ranks] = _batch
