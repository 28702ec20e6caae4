r"""Elements <u|(z - H)^-1|b> of many shifts z, with hand-written derivatives.

The forward is one of several methods, by default
`physml.solvers.reduced_shifted_krylov`. Its pullback has several routes, which agree to
the tolerance:

* "chebyshev" (`physml.solvers.chebyshev_adjoint`): one stable recurrence for all
  shifts, whose cost does not grow with their number;
* "resolvent" (`physml.solvers.resolvent_adjoint`): full solutions of each shift, by the
  method of the forward;
* "lanczos" (`physml.solvers.lanczos_adjoint`): the adjoint of the Lanczos recurrence
  itself, sound as long as its vectors keep their orthogonality;
* "auto": of the first two the cheaper one, "resolvent" for a method that is direct.

Derivation: docs/derivations/greens_function.md.
"""

from functools import lru_cache, partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from physml.failures import expected
from physml.operators.floating_leaves import floating_leaves
from physml.operators.linear_operator import LinearOperator
from physml.pullbacks import with_pullback
from physml.solvers.block_tridiagonal_solution import recursive_elements
from physml.solvers.chebyshev_adjoint import pull_by_series, resolvent_series
from physml.solvers.eigenvector_sum import dense_elements
from physml.solvers.lanczos_adjoint import pull_by_lanczos
from physml.solvers.reduced_shifted_krylov import reduced_shifted_krylov
from physml.solvers.resolvent_adjoint import pull_by_solutions
from physml.solvers.resolvent_pullback import Cotangents, PullbackProblem, cast
from physml.solvers.shifted_elements import ShiftedElements
from physml.solvers.spectral_interval import spectral_interval

INTERVAL_STEPS = 60  # of Lanczos, towards the ends of the spectrum

DerivativeRoute = Literal["auto", "chebyshev", "resolvent", "lanczos"]
# A function of operator, shifts, columns and rows, and what it needs to know before
ResolventMethod = jax.tree_util.Partial
KRYLOV = ResolventMethod(reduced_shifted_krylov)
DIRECT = (dense_elements, recursive_elements)
SOLUTIONS = 8  # held at a time for true residuals


def resolvent_elements(
    operator: LinearOperator,
    shifts: jax.Array,
    columns: jax.Array,
    rows: jax.Array | None = None,
    *,
    tolerance: float | jax.Array = 1e-10,
    max_iterations: int,
    method: ResolventMethod = KRYLOV,
    derivative: DerivativeRoute = "auto",
) -> ShiftedElements:
    """Return <u|(z - H)^-1|b>, differentiable in reverse mode.

    Parameters
    ----------
    operator, shifts, columns, rows, tolerance, max_iterations
        As in `reduced_shifted_krylov`. Differentiable are the floating leaves of the
        operator (for changes that keep H Hermitian), shifts, columns, and rows that are
        vectors.
    method
        `KRYLOV`, or a `ResolventMethod` of `chebyshev_elements` and an interval,
        `recursive_elements` and an order of the sites, or `dense_elements`.
    derivative
        The route of the pullback.

    Raises
    ------
    ValueError
        For another route.
    """
    if derivative not in get_args(DerivativeRoute):
        raise expected(
            f"a derivative among {', '.join(get_args(DerivativeRoute))}",
            repr(derivative),
            "take 'auto'",
        )
    if derivative == "auto" and method.func in DIRECT:
        derivative = "resolvent"
    tolerance = jnp.asarray(tolerance, shifts.real.dtype)
    attached = _attached(max_iterations, derivative)
    return attached(method, operator, shifts, columns, rows, tolerance)


def recomputed_residuals(
    operator: LinearOperator,
    shifts: jax.Array,
    column: jax.Array,
    *,
    method: ResolventMethod = KRYLOV,
    **limits: Any,
) -> jax.Array:
    """Return |b - (z - H) x| / |b| of the full solutions x, made again, (num_shifts,).

    A step costs the work of all n elements for each shift; memory is held for the
    solutions of `SOLUTIONS` shifts at a time.
    """

    def residuals(shifts: jax.Array) -> jax.Array:
        found = method(operator, shifts, column, jnp.arange(len(column)), **limits)
        x = found.value  # (SOLUTIONS, n)
        b = column.astype(x.dtype)[None]
        difference = b - shifts[:, None] * x + operator(x)
        return jnp.linalg.norm(difference, axis=-1) / jnp.linalg.norm(column)

    missing = -len(shifts) % SOLUTIONS
    padded = jnp.concatenate([shifts, jnp.repeat(shifts[-1:], missing)])
    batches = jax.lax.map(residuals, padded.reshape(-1, SOLUTIONS))
    return batches.reshape(-1)[: len(shifts)]


@lru_cache
def _attached(max_iterations: int, route: DerivativeRoute) -> Any:
    def elements(
        method: ResolventMethod,
        operator: LinearOperator,
        shifts: jax.Array,
        columns: jax.Array,
        rows: jax.Array | None,
        tolerance: jax.Array,
    ) -> ShiftedElements:
        return method(
            operator,
            shifts,
            columns,
            rows,
            tolerance=tolerance,
            max_iterations=max_iterations,
        )

    def backward(arguments: tuple, cotangent: ShiftedElements, wanted: tuple) -> tuple:
        # of the others, what is returned is dropped
        needed = tuple(jax.tree.leaves(wanted[1])), wanted[2]
        return _pull(max_iterations, route, needed, arguments, cotangent.value)

    return with_pullback(
        elements, backward, name="resolvent_elements", is_told_what_is_wanted=True
    )


@partial(jax.jit, static_argnums=(0, 1, 2))
def _pull(
    max_iterations: int,
    route: DerivativeRoute,
    needed: tuple[tuple[bool, ...], bool],
    arguments: tuple,
    cotangent: jax.Array,
) -> tuple:
    method, operator, shifts, columns, rows, tolerance = arguments
    of_operator, of_shifts = needed
    size = columns.shape[-1]
    problem = PullbackProblem(
        operator,
        shifts,
        columns.reshape(-1, size),
        rows,
        cotangent.reshape(-1, *cotangent.shape[-2:]),
        tolerance,
        max_iterations,
        method,
        of_operator,
    )
    pulled = _ROUTES[route](problem)
    data = floating_leaves(method)
    return (
        data.as_cotangent(data.zeros()),
        problem.floating_leaves.as_cotangent(pulled.leaves),
        _pull_to_shifts(problem, shifts.dtype) if of_shifts else shifts,
        pulled.columns.reshape(columns.shape),
        None if rows is None or problem.has_sites else pulled.rows,
        jnp.zeros_like(tolerance),
    )


def _pull_to_shifts(problem: PullbackProblem, dtype: jnp.dtype) -> jax.Array:
    """Return the sum of g dG/dz: the forward once more, with a tangent of z."""

    def value(shifts: jax.Array) -> jax.Array:
        return problem.elements(shifts, problem.columns, problem.rows).value

    shifts = problem.shifts
    _, slope = jax.jvp(value, (shifts,), (jnp.ones_like(shifts),))
    return cast(jnp.sum(problem.cotangent * slope, axis=(0, 2)), dtype)


def _pull_chebyshev(problem: PullbackProblem) -> Cotangents:
    interval = spectral_interval(problem.operator, num_steps=INTERVAL_STEPS)
    series = resolvent_series(problem.shifts, problem.cotangent, interval)
    return pull_by_series(problem, series, interval)


def _pull_auto(problem: PullbackProblem) -> Cotangents:
    """Take the series unless it needs more work than the solutions."""
    interval = spectral_interval(problem.operator, num_steps=INTERVAL_STEPS)
    series = resolvent_series(problem.shifts, problem.cotangent, interval)
    # numbers beyond those of int32
    degrees = series.num_degrees(problem.tolerance).astype(problem.tolerance.dtype)
    num_steps = jnp.minimum(degrees, problem.operator.size)
    by_solutions = num_steps * len(problem.shifts) * 2
    return jax.lax.cond(
        4 * degrees <= by_solutions + 4 * num_steps,
        lambda: pull_by_series(problem, series, interval),
        lambda: pull_by_solutions(problem),
    )


_ROUTES = {
    "auto": _pull_auto,
    "chebyshev": _pull_chebyshev,
    "resolvent": pull_by_solutions,
    "lanczos": pull_by_lanczos,
}
