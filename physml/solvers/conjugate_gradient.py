r"""Conjugate gradients for many right-hand sides, A positive definite.

M. R. Hestenes and E. Stiefel, J. Res. Natl. Bur. Stand. 49, 409 (1952). A direction
with :math:`(p, A p) \le 0`, or with a Rayleigh quotient that is rounding beside the
largest, proves that A is not positive definite; it ends its system, with the solution
so far, and is told by the result.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from physml.operators import LinearOperator
from physml.solvers.linear_solution import (
    MARGIN,
    Iterated,
    LinearSolution,
    iterated,
    with_derivative,
)
from physml.solvers.vector_rows import norms_squared, real_overlaps, scaled_rows


class _State(NamedTuple):
    """One row for each system."""

    solution: jax.Array  # x
    residual: jax.Array  # r = b - A x by the recurrence
    direction: jax.Array  # p
    norm_squared: jax.Array  # |r|^2, (num_systems,)
    largest: jax.Array  # Rayleigh quotient of the directions, (num_systems,)
    goes_on: jax.Array  # (num_systems,)
    num_steps: jax.Array
    is_indefinite: jax.Array


@partial(jax.jit, static_argnames="max_iterations")
def conjugate_gradient(
    operator: LinearOperator,
    right_hand_sides: jax.Array,
    *,
    tolerance: float | jax.Array = 1e-10,
    max_iterations: int,
) -> LinearSolution:
    """Return the solutions of A x = b for each row b.

    Parameters
    ----------
    operator
        A, Hermitian and positive definite.
    right_hand_sides
        b, shape (num_systems, n), of the dtype of A b.
    tolerance
        Of |b - A x| / |b|.
    max_iterations
        Products with A, at most.
    """
    iterate = partial(_iterate, operator, tolerance, max_iterations)
    return with_derivative(iterate, operator, right_hand_sides, tolerance)


def _iterate(
    operator: LinearOperator,
    tolerance: float | jax.Array,
    max_iterations: int,
    right_hand_sides: jax.Array,
) -> Iterated:
    norm_squared = norms_squared(right_hand_sides)
    start = _State(
        solution=jnp.zeros_like(right_hand_sides),
        residual=right_hand_sides,
        direction=right_hand_sides,
        norm_squared=norm_squared,
        largest=jnp.zeros_like(norm_squared),
        goes_on=norm_squared > 0,
        num_steps=jnp.zeros(norm_squared.shape, jnp.int32),
        is_indefinite=jnp.zeros(norm_squared.shape, bool),
    )
    target = (MARGIN * tolerance) ** 2 * norm_squared
    end = iterated(partial(_step, operator, target), start, max_iterations)
    return Iterated(end.solution, end.num_steps, end.is_indefinite)


def _step(operator: LinearOperator, target: jax.Array, state: _State) -> _State:
    product = operator(state.direction)
    curvature = real_overlaps(state.direction, product)
    of_direction = norms_squared(state.direction)
    rounding = jnp.finfo(curvature.dtype).eps * state.largest * of_direction
    moves = state.goes_on & (curvature > rounding)
    length = jnp.where(moves, state.norm_squared / jnp.where(moves, curvature, 1), 0)
    residual = state.residual - scaled_rows(product, length)
    norm_squared = jnp.where(moves, norms_squared(residual), state.norm_squared)
    ratio = norm_squared / jnp.where(moves, state.norm_squared, 1)
    return _State(
        solution=state.solution + scaled_rows(state.direction, length),
        residual=residual,
        direction=residual + scaled_rows(state.direction, jnp.where(moves, ratio, 0)),
        norm_squared=norm_squared,
        largest=jnp.maximum(
            state.largest, curvature / jnp.where(moves, of_direction, 1)
        ),
        goes_on=moves & ~(norm_squared <= target),
        num_steps=state.num_steps + state.goes_on.astype(jnp.int32),
        is_indefinite=state.is_indefinite | (state.goes_on & (curvature <= rounding)),
    )
