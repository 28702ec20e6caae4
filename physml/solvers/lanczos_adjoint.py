r"""The pullback of resolvent elements by the adjoint of the Lanczos recurrence.

The elements depend on H through the numbers :math:`a_k, b_k, \langle u|v_k\rangle`
alone. Their cotangents come from autodiff of the scalar recurrence of all shifts, and
go down the three-term recurrence, last step first. With :math:`\mu_k` for the cotangent
of :math:`v_k` (in :math:`\mathrm{Re}\langle\mu|dv\rangle`) step k makes

.. math:: \nu &= (\mu_{k+1} - v_{k+1} \mathrm{Re}\langle \mu_{k+1}|v_{k+1}\rangle)
                 / b_{k+1} + \bar b_{k+1} v_{k+1}, \\
          \nu' &= \nu + \alpha v_k, \qquad
                  \alpha = \bar a_k - \mathrm{Re}\langle\nu|v_k\rangle, \\
          \mu_k &\mathrel{+}= H \nu' + \alpha (a_k v_k + b_{k+1} v_{k+1}) - a_k \nu, \\
          \mu_{k-1} &\mathrel{-}= b_k \nu', \qquad
          \bar b_k \mathrel{-}= \mathrm{Re}\langle\nu'|v_{k-1}\rangle,

and the leaves get the pullback of :math:`\mathrm{Re}\langle\nu'|dH|v_k\rangle`, which
means something for Hermitian dH alone: of independent elements of a dense H this gives
the Hermitian part.

The forward is run again in segments of about sqrt(max_iterations) steps; each begins
with a checkpoint, and its vectors are made once more on the way down: memory
O(n sqrt(max_iterations)). What it costs: docs/derivations/greens_function.md.

Limits: this is the derivative of the elements as computed. Where Ritz values converge
long before the shifts do, Lanczos vectors lose their orthogonality, copies of these
Ritz values come up, and a perturbation as small as rounding decides when: the elements
do not feel it, but their derivative along the recurrence may grow by 1 / eps with each
copy, above all off the diagonal. The other routes do not suffer from that; the tests
show both.
"""

from functools import partial
from math import isqrt
from typing import NamedTuple

import jax
import jax.numpy as jnp

from physml.operators.floating_leaves import FloatingLeaves, Leaves
from physml.solvers.lanczos import (
    LanczosState,
    LanczosSteps,
    lanczos_chunk,
    lanczos_start,
)
from physml.solvers.resolvent_pullback import Cotangents, PullbackProblem, cast
from physml.solvers.shifted_recurrence import (
    ShiftedState,
    shifted_start,
    shifted_step,
)
from physml.solvers.vector_rows import real_overlaps, scaled_rows


class _Point(NamedTuple):
    """Where both recurrences stand."""

    vectors: LanczosState
    shifted: ShiftedState


class _Adjoint(NamedTuple):
    """What the way down carries from step k + 1 to step k."""

    shifted: ShiftedState  # cotangent of the state of the shifts
    following: jax.Array  # mu_{k+1}
    here: jax.Array  # mu_k, as far as it is known
    coupling: jax.Array  # what step k + 1 adds to the cotangent of b_{k+1}
    leaves: Leaves
    rows: jax.Array


def pull_by_lanczos(problem: PullbackProblem) -> Cotangents:
    """Return the derivatives of resolvent elements as the recurrence computes them."""
    length = isqrt(problem.max_iterations - 1) + 1
    vectors, norm = lanczos_start(problem.columns)
    num_rows = 1 if problem.rows is None else len(problem.rows)
    start = _Point(vectors, shifted_start(problem.shifts, norm.shape, num_rows))
    num_segments, end, points = _forward(problem, start, length)

    power = 2 if problem.rows is None else 1  # of |b| in the elements
    weight = jnp.moveaxis(problem.cotangent, 2, 0)  # (m, columns, shifts)
    scale = (norm**power).astype(weight.dtype)[None, :, None]
    norm_cotangent = (
        power * norm ** (power - 1) * jnp.sum((weight * end.shifted.value).real, (0, 2))
    )
    adjoint = _start_down(problem, end.shifted, weight * scale)

    def segment(number: jax.Array, adjoint: _Adjoint) -> _Adjoint:
        place = num_segments - 1 - number
        point = jax.tree.map(lambda x: x[place], points)
        return _down_segment(problem, point, length, adjoint)

    adjoint = jax.lax.fori_loop(0, num_segments, segment, adjoint)
    columns = _unnormalized(adjoint.following, vectors.current, norm, norm_cotangent)
    return problem.cotangents(adjoint.leaves, columns, adjoint.rows)


def _forward(
    problem: PullbackProblem, start: _Point, length: int
) -> tuple[jax.Array, _Point, _Point]:
    """Run until all shifts have converged; keep the point where each segment begins."""
    most = -(-problem.max_iterations // length)
    points = jax.tree.map(lambda x: jnp.zeros((most, *x.shape), x.dtype), start)

    def runs(carry: tuple) -> jax.Array:
        number, point, _ = carry
        is_behind = point.shifted.residual_squared > problem.tolerance**2
        is_running = point.vectors.is_valid[..., None] & is_behind
        return (number < most) & jnp.any(is_running)

    def segment(carry: tuple) -> tuple:
        number, point, points = carry
        points = jax.tree.map(lambda all_, x: all_.at[number].set(x), points, point)
        vectors, steps = lanczos_chunk(
            problem.operator, point.vectors, problem.rows, num_steps=length
        )
        point = _Point(vectors, _advanced(problem, point.shifted, steps))
        return number + 1, point, points

    return jax.lax.while_loop(runs, segment, (jnp.zeros((), jnp.int32), start, points))


def _advanced(
    problem: PullbackProblem, state: ShiftedState, steps: LanczosSteps
) -> ShiftedState:
    """Take steps into account; a shift that is done keeps all of its numbers.

    They would overflow, which the value does not see but its derivative does. The row
    u = b has the elements 1, 0, 0, ..., whatever H is; b_0 = 0 tells where it begins.
    """
    if steps.elements is None:
        is_first = (steps.last_coupling == 0)[..., None]
        steps = steps._replace(elements=is_first.astype(steps.diagonal.dtype))

    def step(state: ShiftedState, numbers: LanczosSteps) -> tuple[ShiftedState, None]:
        new = shifted_step(state, problem.shifts, numbers, problem.tolerance)
        goes_on = new.num_steps > state.num_steps

        def kept(new: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(jnp.broadcast_to(goes_on, new.shape), new, old)

        return jax.tree.map(kept, new, state), None

    return jax.lax.scan(step, state, steps)[0]


def _start_down(
    problem: PullbackProblem, end: ShiftedState, value: jax.Array
) -> _Adjoint:
    zero = jnp.zeros_like(problem.columns)
    shifted = jax.tree.map(jnp.zeros_like, end)._replace(value=value)
    return _Adjoint(
        shifted,
        zero,
        zero,
        jnp.zeros_like(zero[:, 0].real),
        problem.floating_leaves.zeros(),
        problem.no_rows(),
    )


def _down_segment(
    problem: PullbackProblem, point: _Point, length: int, adjoint: _Adjoint
) -> _Adjoint:
    """Make the steps of a segment again, and go down through them."""

    def step(state: LanczosState, _: None) -> tuple[LanczosState, tuple]:
        new, numbers = lanczos_chunk(problem.operator, state, problem.rows, num_steps=1)
        return new, (state, new, jax.tree.map(lambda x: x[0], numbers))

    _, (before, after, steps) = jax.lax.scan(step, point.vectors, None, length=length)
    steps_cotangent, shifted = _pull_scalars(problem, point, steps, adjoint.shifted)
    down = partial(_down, problem, problem.floating_leaves)
    adjoint = adjoint._replace(shifted=shifted)
    rows = before, after, steps.diagonal, steps_cotangent
    return jax.lax.scan(down, adjoint, rows, reverse=True)[0]


def _pull_scalars(
    problem: PullbackProblem, point: _Point, steps: LanczosSteps, end: ShiftedState
) -> tuple[LanczosSteps, ShiftedState]:
    """Return the cotangents of the numbers of steps, and of the state before them."""
    count = point.shifted.num_steps  # the last field, the only one of integers

    def advanced(numbers: tuple, state: tuple) -> tuple:
        diagonal, coupling, elements = numbers
        taken = steps._replace(diagonal=diagonal, coupling=coupling, elements=elements)
        return _advanced(problem, ShiftedState._make((*state, count)), taken)[:-1]

    numbers = steps.diagonal, steps.coupling, steps.elements
    _, pull = jax.vjp(advanced, numbers, point.shifted[:-1])
    (diagonal, coupling, elements), start = pull(end[:-1])
    pulled = steps._replace(diagonal=diagonal, coupling=coupling, elements=elements)
    return pulled, ShiftedState._make((*start, end.num_steps))


def _down(
    problem: PullbackProblem,
    floating: FloatingLeaves,
    adjoint: _Adjoint,
    row: tuple[LanczosState, LanczosState, jax.Array, LanczosSteps],
) -> tuple[_Adjoint, None]:
    """Go down through step k; the formulas are those above."""
    before, after, a, bar = row
    v, v_next, b_next = before.current, after.current, after.coupling
    goes_on = b_next > 0
    inverse = jnp.where(goes_on, 1 / jnp.where(goes_on, b_next, 1.0), 0.0)
    b_bar = jnp.where(goes_on, bar.coupling + adjoint.coupling, 0.0)
    radial = real_overlaps(adjoint.following, v_next)

    nu = scaled_rows(adjoint.following, inverse)
    nu = nu + scaled_rows(v_next, b_bar - inverse * radial)
    alpha = bar.diagonal - real_overlaps(nu, v)
    nu_1 = nu + scaled_rows(v, alpha)
    both = jnp.stack([v, nu_1])  # dH is Hermitian: half of the pullback from each side
    products, pull = floating.apply_and_pull(both)
    mu = adjoint.here + products[1] - scaled_rows(nu, a)
    mu = mu + scaled_rows(v, alpha * a) + scaled_rows(v_next, alpha * b_next)
    rows = adjoint.rows
    if bar.elements is not None:  # else <b|v_k> stands in |b| alone
        elements = cast(bar.elements.conj(), v.dtype)
        mu = mu + problem.row_vectors(elements).astype(v.dtype)
        rows = rows + problem.row_cotangent(bar.elements, v)
    return _Adjoint(
        adjoint.shifted,
        following=mu,
        here=-scaled_rows(nu_1, before.coupling),
        coupling=-real_overlaps(nu_1, before.previous),
        leaves=jax.tree.map(jnp.add, adjoint.leaves, pull(both[::-1].conj() / 2)),
        rows=rows,
    ), None


def _unnormalized(
    mu: jax.Array, start: jax.Array, norm: jax.Array, norm_cotangent: jax.Array
) -> jax.Array:
    """Return the cotangent of b from those of b / |b| and |b|."""
    is_valid = norm > 0
    inverse = jnp.where(is_valid, 1 / jnp.where(is_valid, norm, 1.0), 0.0)
    radial = norm_cotangent - inverse * real_overlaps(mu, start)
    return (scaled_rows(mu, inverse) + scaled_rows(start, radial)).conj()
