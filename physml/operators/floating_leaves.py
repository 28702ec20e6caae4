"""The leaves of an operator that may be differentiated, apart from the rest."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.operators.linear_operator import LinearOperator

Leaves = tuple[jax.Array, ...]


class FloatingLeaves(NamedTuple):
    """The floating-point and complex leaves of an operator, and the way back."""

    leaves: Leaves
    rebuild: Callable[[Leaves], LinearOperator]
    as_cotangent: Callable[[Leaves], Any]  # an operator of these, for jax.custom_vjp

    def apply_and_pull(
        self, vectors: jax.Array
    ) -> tuple[jax.Array, Callable[[jax.Array], Leaves]]:
        """Return H v, and the pullback of a cotangent of H v to the leaves."""
        product, pull = jax.vjp(
            lambda leaves: self.rebuild(leaves)(vectors), self.leaves
        )
        return product, lambda cotangent: pull(cotangent.astype(product.dtype))[0]

    def zeros(self) -> Leaves:
        """Return cotangents of zero."""
        return jax.tree.map(jnp.zeros_like, self.leaves)


def floating_leaves(
    operator: Any, wanted: tuple[bool, ...] | None = None
) -> FloatingLeaves:
    """Take the leaves that may be differentiated out of an operator, or any pytree.

    Parameters
    ----------
    operator
        The operator.
    wanted
        A bool for each of its leaves, by default all True: the cotangents of others are
        zero without work.
    """
    all_leaves, structure = jax.tree.flatten(operator)
    flags = (True,) * len(all_leaves) if wanted is None else wanted
    marked = [
        i
        for i, (leaf, is_wanted) in enumerate(zip(all_leaves, flags, strict=True))
        if is_wanted and _is_inexact(leaf)
    ]

    def filled(others: list, leaves: Leaves) -> Any:
        for i, leaf in zip(marked, leaves, strict=True):
            others[i] = leaf
        return jax.tree.unflatten(structure, others)

    return FloatingLeaves(
        tuple(jnp.asarray(all_leaves[i]) for i in marked),
        lambda leaves: filled(list(all_leaves), leaves),
        lambda leaves: filled([_no_cotangent(leaf) for leaf in all_leaves], leaves),
    )


def _is_inexact(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def _no_cotangent(leaf: Any) -> Any:
    if _is_inexact(leaf):
        return jnp.zeros_like(leaf)
    return np.zeros(jnp.shape(leaf), jax.dtypes.float0)
