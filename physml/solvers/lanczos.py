r"""The Lanczos process: a Hermitian operator as a tridiagonal matrix, step by step.

.. math:: H v_k = b_k v_{k-1} + a_k v_k + b_{k+1} v_{k+1}, \qquad
          v_0 = b / |b|, \quad b_0 = 0,

with real a, b, also for a complex H. The vectors lose their orthogonality to rounding,
never this relation between neighbors: what is computed from a, b and elements of the
vectors with a residual is as good as that residual says (C. C. Paige, J. Inst. Math.
Appl. 18, 341 (1976)).

Steps are made in chunks, so that only two vectors and the numbers of one chunk are ever
held. Where the Krylov space is exhausted the process ends: v_{k+1} = 0, and steps
after that are not valid.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from physml.operators.linear_operator import LinearOperator
from physml.solvers.vector_rows import (
    norms_squared,
    real_overlaps,
    row_elements,
    scaled_rows,
)

ROUNDING_LEVEL = 4.0  # |b_k+1| below this times eps (|a_k| + b_k) is zero to rounding


class LanczosState(NamedTuple):
    """What step k starts from."""

    previous: jax.Array  # v_k-1, (..., n)
    current: jax.Array  # v_k, (..., n)
    coupling: jax.Array  # b_k, (...)
    is_valid: jax.Array  # whether v_k exists, (...)


class LanczosSteps(NamedTuple):
    """The numbers of consecutive steps, axis 0, that all else is computed from."""

    diagonal: jax.Array  # a_k, (c, ...)
    coupling: jax.Array  # b_k+1, (c, ...); its rounding level where the process ends
    is_valid: jax.Array  # whether v_k exists, (c, ...)
    elements: jax.Array | None  # <u_m|v_k>, (c, ..., m)
    last_coupling: jax.Array  # b_k, (c, ...)


def lanczos_start(columns: jax.Array) -> tuple[LanczosState, jax.Array]:
    """Return the state before step 0 and |b| of each start vector b, shape (..., n)."""
    norm = jnp.linalg.norm(columns, axis=-1)
    is_valid = norm > 0
    inverse = 1 / jnp.where(is_valid, norm, jnp.ones_like(norm))
    current = scaled_rows(columns, inverse)
    zero = jnp.zeros_like(norm)
    return LanczosState(jnp.zeros_like(current), current, zero, is_valid), norm


def lanczos_chunk(
    operator: LinearOperator,
    state: LanczosState,
    rows: jax.Array | None = None,
    *,
    num_steps: int,
) -> tuple[LanczosState, LanczosSteps]:
    """Make some steps for each start vector.

    Parameters
    ----------
    operator
        H, Hermitian.
    state
        Where the process stands, for any number of start vectors.
    rows
        Whose overlaps with the Lanczos vectors are kept: sites, integers of shape (m,),
        or vectors u, shape (m, n); none if None.
    num_steps
        How many, c.

    Returns
    -------
    The state after them, and their numbers.
    """
    step = partial(_lanczos_step, operator, rows)
    # two steps at a time: the two vectors then keep their places in memory
    return jax.lax.scan(step, state, None, length=num_steps, unroll=2)


def _lanczos_step(
    operator: LinearOperator, rows: jax.Array | None, state: LanczosState, _: None
) -> tuple[LanczosState, LanczosSteps]:
    previous, v, b, is_valid = state
    w = operator(v) - scaled_rows(previous, b)
    a = real_overlaps(v, w)
    w = w - scaled_rows(v, a)
    b_next = jnp.sqrt(norms_squared(w))
    rounding = ROUNDING_LEVEL * jnp.finfo(b.dtype).eps * (jnp.abs(a) + b)
    goes_on = is_valid & ~(b_next <= rounding)  # NaN goes on and is seen
    inverse = jnp.where(goes_on, 1 / jnp.where(goes_on, b_next, 1.0), 0.0)
    least = jnp.finfo(b.dtype).tiny ** 0.25  # so that its inverse squared is finite
    coupling = jnp.where(goes_on, b_next, jnp.maximum(rounding, least))
    elements = None if rows is None else row_elements(rows, v)
    steps = LanczosSteps(a, coupling, is_valid, elements, b)
    b_next = jnp.where(goes_on, b_next, 0.0)
    return LanczosState(v, scaled_rows(w, inverse), b_next, goes_on), steps
