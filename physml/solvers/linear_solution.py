"""Solutions of linear systems with what is known about each, and their derivative."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from physml.operators import LinearOperator
from physml.operators.scaled_operator import size_exponent, times_power_of_two

MARGIN = 0.5  # of the tolerance: the recurrence's residual is not quite the true one
SHOWN = 3  # failed systems that a message names


class LinearSolution(NamedTuple):
    """Solutions x_i of A x_i = b_i."""

    solution: jax.Array  # (num_systems, n)
    relative_residual: jax.Array  # |b - A x| / |b|, recomputed, (num_systems,)
    converged: jax.Array  # (num_systems,)
    num_iterations: jax.Array  # products with A, (num_systems,)
    is_indefinite: jax.Array  # whether a direction with (p, A p) <= 0 was met

    @property
    def outcome(self) -> str:
        """How it went, in words."""
        failed = np.flatnonzero(~np.asarray(self.converged))
        most = int(np.max(self.num_iterations))
        if not len(failed):
            return f"{len(self.converged)} converged in at most {most} iterations"
        residual = np.asarray(self.relative_residual)
        names = [f"{i} (residual {residual[i]:.1e})" for i in failed[:SHOWN]]
        if len(failed) > SHOWN:
            names.append(f"and {len(failed) - SHOWN} more")
        return (
            f"{len(failed)} failed, numbers {', '.join(names)}: {self._cause(failed)}"
        )

    def _cause(self, failed: np.ndarray) -> str:
        if np.isnan(np.asarray(self.relative_residual)[failed]).any():
            return "NaN came out; look for NaN or infinity in the operator"
        if np.asarray(self.is_indefinite)[failed].any():
            return "the operator is not positive definite; use minimal_residual"
        return (
            "the limit on iterations or of rounding was reached; raise max_iterations "
            "or the tolerance, or look for an operator that is singular"
        )


class _Steps(Protocol):
    """What an iteration carries, among other things."""

    @property
    def goes_on(self) -> jax.Array:
        """Whether a system has not ended, (num_systems,)."""
        ...

    @property
    def num_steps(self) -> jax.Array:
        """Of each system, (num_systems,)."""
        ...


Steps = TypeVar("Steps", bound=_Steps)


def iterated(
    step: Callable[[Steps], Steps], start: Steps, max_iterations: int
) -> Steps:
    """Make steps until no system goes on, or the limit is reached."""

    def may_go_on(state: Steps) -> jax.Array:
        return jnp.any(state.goes_on) & (jnp.max(state.num_steps) < max_iterations)

    return jax.lax.while_loop(may_go_on, step, start)


class Iterated(NamedTuple):
    """What an iteration ends with."""

    solution: jax.Array
    num_iterations: jax.Array
    is_indefinite: jax.Array


def with_derivative(
    iterate: Callable[[jax.Array], Iterated],
    operator: LinearOperator,
    right_hand_sides: jax.Array,
    tolerance: float | jax.Array,
) -> LinearSolution:
    r"""Solve, and differentiate the solution as that of a linear system.

    :math:`dx = A^{-1} (db - dA \, x)`, and transposed with
    :math:`A^{-T} = \overline{A^{-1}}`: another solution by the same iteration, which
    needs no steps of the first one.
    """

    def solve(_: Callable, b: jax.Array) -> tuple[jax.Array, Iterated]:
        exponent = _exponents(b)  # squares of very small numbers are zero
        found = iterate(times_power_of_two(b, -exponent))
        return times_power_of_two(found.solution, exponent), found

    def solve_transposed(_: Callable, b: jax.Array) -> tuple[jax.Array, Iterated]:
        solution, found = solve(_, b.conj())
        return solution.conj(), found

    solution, found = jax.lax.custom_linear_solve(
        operator, right_hand_sides, solve, solve_transposed, has_aux=True
    )
    residual = relative_residuals(operator, solution, right_hand_sides)
    return LinearSolution(
        solution,
        residual,
        residual <= tolerance,
        found.num_iterations,
        found.is_indefinite,
    )


def relative_residuals(
    operator: LinearOperator, solution: jax.Array, right_hand_sides: jax.Array
) -> jax.Array:
    """Return |b - A x| / |b| of each row; |A x| where b = 0."""
    fixed = jax.lax.stop_gradient((operator, solution, right_hand_sides))
    operator, solution, right_hand_sides = fixed
    exponent = _exponents(right_hand_sides)
    norm, residual = (
        jnp.linalg.norm(times_power_of_two(x, -exponent), axis=-1)
        for x in (right_hand_sides, right_hand_sides - operator(solution))
    )
    return residual / jnp.where(norm > 0, norm, 1)


def _exponents(vectors: jax.Array) -> jax.Array:
    """Return e with elements of about 2^e for each row, (num_systems, 1)."""
    return size_exponent(jnp.max(jnp.abs(vectors), axis=-1, keepdims=True))
