r"""The minimal residual method for many right-hand sides, A Hermitian of any sign.

The k-th solution minimizes |b - A x| in the Krylov space of k Lanczos vectors: the
tridiagonal matrix is brought to triangular form by rotations, one for each step, and
nothing is divided by what vanishes for indefinite A. C. C. Paige and M. A. Saunders,
SIAM J. Numer. Anal. 12, 617 (1975).

==========================  ============================================
Paige and Saunders          here
==========================  ============================================
alpha_k, beta_k+1           diagonal, coupling of the Lanczos process
c_k, s_k                    cosine, sine of the rotation
phi-bar_k = \|b - A x_k\|   residual_norm
w_k                         direction
==========================  ============================================
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from physml.operators import LinearOperator
from physml.operators.scaled_operator import (
    ScaledOperator,
    exponent_of,
    times_power_of_two,
)
from physml.solvers.lanczos import LanczosState, lanczos_chunk, lanczos_start
from physml.solvers.linear_solution import (
    MARGIN,
    Iterated,
    LinearSolution,
    iterated,
    with_derivative,
)
from physml.solvers.vector_rows import scaled_rows


class _Rotation(NamedTuple):
    """Of the step before, for each system."""

    cosine: jax.Array
    sine: jax.Array
    delta_bar: jax.Array
    epsilon: jax.Array


class _State(NamedTuple):
    """One row for each system."""

    solution: jax.Array
    lanczos: LanczosState
    rotation: _Rotation
    direction: jax.Array  # w_k-1
    direction_before: jax.Array  # w_k-2
    residual_norm: jax.Array  # (num_systems,)
    goes_on: jax.Array
    num_steps: jax.Array


@partial(jax.jit, static_argnames="max_iterations")
def minimal_residual(
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
        A, Hermitian, not singular on the right-hand sides.
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
    size = jnp.ones((), right_hand_sides.real.dtype)
    exponent = exponent_of(operator, size)
    operator = ScaledOperator(operator, -exponent)
    lanczos, norm = lanczos_start(right_hand_sides)
    zero, zeros = jnp.zeros_like(norm), jnp.zeros_like(right_hand_sides)
    start = _State(
        solution=zeros,
        lanczos=lanczos,
        rotation=_Rotation(zero - 1, zero, zero, zero),
        direction=zeros,
        direction_before=zeros,
        residual_norm=norm,
        goes_on=norm > 0,
        num_steps=jnp.zeros(norm.shape, jnp.int32),
    )
    target = MARGIN * tolerance * norm
    end = iterated(partial(_step, operator, target), start, max_iterations)
    solution = times_power_of_two(end.solution, -exponent)
    return Iterated(solution, end.num_steps, jnp.zeros(norm.shape, bool))


def _step(operator: LinearOperator, target: jax.Array, state: _State) -> _State:
    v = state.lanczos.current
    lanczos, numbers = lanczos_chunk(operator, state.lanczos, num_steps=1)
    alpha, beta = numbers.diagonal[0], lanczos.coupling  # beta is 0 at the end
    c, s, delta_bar, epsilon = state.rotation
    delta = c * delta_bar + s * alpha
    gamma_bar = s * delta_bar - c * alpha
    gamma = jnp.hypot(gamma_bar, beta)
    moves = state.goes_on & ~(gamma <= 0)  # where it vanishes, A is singular
    inverse = jnp.where(moves, 1 / jnp.where(moves, gamma, 1), 0)
    rotation = _Rotation(gamma_bar * inverse, beta * inverse, -c * beta, s * beta)
    direction = v - scaled_rows(state.direction_before, epsilon)
    direction = scaled_rows(direction - scaled_rows(state.direction, delta), inverse)
    length = jnp.where(moves, rotation.cosine * state.residual_norm, 0)
    residual_norm = jnp.where(
        moves, rotation.sine * state.residual_norm, state.residual_norm
    )
    return _State(
        solution=state.solution + scaled_rows(direction, length),
        lanczos=lanczos,
        rotation=rotation,
        direction=direction,
        direction_before=state.direction,
        residual_norm=residual_norm,
        goes_on=moves & ~(residual_norm <= target) & lanczos.is_valid,
        num_steps=state.num_steps + state.goes_on.astype(jnp.int32),
    )
