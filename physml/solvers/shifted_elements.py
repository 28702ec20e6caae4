"""What every method returns for elements of the resolvent at many shifts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class ShiftedElements(NamedTuple):
    """Elements of the resolvent, with the residual of each solution behind them.

    A residual is NaN where the operator has NaN, and infinite where nothing is known of
    a solution, as for z on the spectrum.
    """

    value: jax.Array  # <u|(z - H)^-1|b>, (..., num_shifts, m)
    relative_residual: jax.Array  # |b - (z - H) x| / |b|, (..., num_shifts)
    is_converged: jax.Array  # (..., num_shifts)
    num_steps: jax.Array  # products with H for each, (..., num_shifts)
    has_ended: jax.Array  # whether no further step could change anything, (...)


def direct_elements(
    value: jax.Array,
    residual: jax.Array,
    tolerance: float | jax.Array,
    is_finite: jax.Array,
) -> ShiftedElements:
    """Return the elements that a method without steps has found.

    Parameters
    ----------
    value, residual
        Of which either may be NaN where z is an eigenvalue.
    tolerance
        Of the residual.
    is_finite
        Whether the operator is, shape ().
    """
    residual = jnp.where(jnp.isfinite(residual), residual, jnp.inf)
    residual = jnp.where(is_finite, residual, jnp.nan)
    return ShiftedElements(
        value=value,
        relative_residual=residual,
        is_converged=(residual <= tolerance) & jnp.all(jnp.isfinite(value), axis=-1),
        num_steps=jnp.zeros(residual.shape, jnp.int32),
        has_ended=jnp.broadcast_to(is_finite, residual.shape[:-1]),
    )
