r"""Elements <u|(z - H)^-1|b> for many shifts z: one Krylov space, no full solutions.

A chunk of Lanczos steps applies the operator; the recurrences of all shifts that still
run then use the numbers of that chunk. Shifts that run stand in front, in blocks, and
the loop over blocks ends with them: a shift that has converged costs nothing more. The
whole is one compiled loop whose memory is a few vectors, a few numbers for each shift
and one chunk.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from physml.operators.linear_operator import LinearOperator
from physml.operators.scaled_operator import (
    ScaledOperator,
    exponent_of,
    times_power_of_two,
)
from physml.solvers.continued_fraction import (
    FractionState,
    fraction_chunk,
    fraction_start,
)
from physml.solvers.lanczos import (
    LanczosState,
    LanczosSteps,
    lanczos_chunk,
    lanczos_start,
)
from physml.solvers.shifted_elements import ShiftedElements
from physml.solvers.shifted_recurrence import (
    ShiftedState,
    shifted_chunk,
    shifted_start,
)

CHUNK = 16  # Lanczos steps between two looks at what has converged
BLOCK = 8192  # shifts times columns whose numbers stay in the cache for a chunk


ITERATIONS_A_SITE = 10
FEWEST_ITERATIONS, MOST_ITERATIONS = 10_000, 100_000


def iteration_limit(size: int) -> int:
    """Return the default limit on products with H: 10 n, from 10 000 to 100 000.

    Without rounding n are enough. Where orthogonality is lost a small system, too, may
    need many times as many.
    """
    return max(FEWEST_ITERATIONS, min(ITERATIONS_A_SITE * size, MOST_ITERATIONS))


class _Process(NamedTuple):
    """The carry of the compiled loop."""

    step: jax.Array
    vectors: LanczosState
    shifted: ShiftedState | FractionState
    shifts: jax.Array  # those that run in front, (padded,)
    order: jax.Array  # where each of them stood, (padded,)
    num_blocks: jax.Array  # that hold a shift that runs


@jax.jit
def reduced_shifted_krylov(
    operator: LinearOperator,
    shifts: jax.Array,
    columns: jax.Array,
    rows: jax.Array | None = None,
    *,
    tolerance: float | jax.Array = 1e-10,
    max_iterations: int | jax.Array,
) -> ShiftedElements:
    r"""Return <u|(z - H)^-1|b> for all shifts, rows and columns.

    Parameters
    ----------
    operator
        H, Hermitian.
    shifts
        z, complex, shape (num_shifts,), of the precision of the columns.
    columns
        b, shape (..., n): each has a Krylov space of its own.
    rows
        u: sites, integers of shape (m,), or vectors, (m, n). None: u = b, one row,
        which is cheaper.
    tolerance
        A shift has converged when its relative residual is at or below this.
    max_iterations
        Lanczos steps at most.

    Returns
    -------
    The elements. A shift has converged, too, where the Krylov space ended and
    perturbations of H by rounding change the solution by less than eps^(1/4). The
    recurrences run in a unit of energy in which H is about 1: squares of energies, of
    1e-19 J for example, would leave the range of float32.
    """
    width = _block_width(len(shifts), columns[..., 0].size)
    tolerance = jnp.asarray(tolerance, columns.real.dtype)
    exponent = exponent_of(operator, jnp.max(jnp.abs(shifts)))
    operator = ScaledOperator(operator, -exponent)
    shifts = times_power_of_two(shifts, -exponent)
    padded = jnp.concatenate([shifts, jnp.ones(-len(shifts) % width, shifts.dtype)])
    vectors, norm = lanczos_start(columns)
    shifted: ShiftedState | FractionState
    if rows is None:
        shifted = fraction_start(padded, norm.shape)
    else:
        shifted = shifted_start(padded, norm.shape, len(rows))
    process = _Process(
        step=jnp.zeros((), jnp.int32),
        vectors=vectors,
        shifted=shifted,
        shifts=padded,
        order=jnp.arange(len(padded)),
        num_blocks=jnp.full((), -(-len(shifts) // width)),
    )
    process = jax.lax.while_loop(
        lambda process: (
            (process.num_blocks > 0)
            & (process.step < max_iterations)
            & jnp.any(process.vectors.is_valid)
        ),
        partial(
            _next_chunk, operator, rows, width, len(shifts), tolerance, max_iterations
        ),
        process,
    )
    factor = norm * norm if rows is None else norm  # u = b has the norm of b, too
    found = _elements(process, factor, len(shifts), tolerance)
    return found._replace(value=times_power_of_two(found.value, -exponent))


def _block_width(num_shifts: int, num_columns: int) -> int:
    """Return how many shifts make a block: blocks of nearly equal size."""
    num_blocks = -(-num_shifts * num_columns // BLOCK)
    return max(1, -(-num_shifts // num_blocks))


def _next_chunk(
    operator: LinearOperator,
    rows: jax.Array | None,
    width: int,
    num_shifts: int,
    tolerance: jax.Array,
    max_iterations: int | jax.Array,
    process: _Process,
) -> _Process:
    vectors, steps = lanczos_chunk(operator, process.vectors, rows, num_steps=CHUNK)
    number = process.step + jnp.arange(CHUNK, dtype=jnp.int32)
    allowed = number < max_iterations
    allowed = allowed.reshape(CHUNK, *(1,) * (steps.is_valid.ndim - 1))
    steps = steps._replace(is_valid=steps.is_valid & allowed)
    shifted = _advance_blocks(process, steps, width, tolerance)
    process = process._replace(
        step=process.step + CHUNK, vectors=vectors, shifted=shifted
    )
    runs = shifted.residual_squared > tolerance**2  # (..., padded)
    runs = jnp.any(runs.reshape(-1, runs.shape[-1]), axis=0)
    runs = runs & (process.order < num_shifts)
    num_blocks = -(-jnp.sum(runs) // width)
    return jax.lax.cond(
        num_blocks < process.num_blocks,
        lambda: _sorted(process, runs)._replace(num_blocks=num_blocks),
        lambda: process,
    )


def _advance_blocks(
    process: _Process, steps: LanczosSteps, width: int, tolerance: jax.Array
) -> ShiftedState | FractionState:
    """Take a chunk into account for the blocks in front."""
    is_fraction = isinstance(process.shifted, FractionState)
    take: Any = fraction_chunk if is_fraction else shifted_chunk

    def advance(i: jax.Array, state: Any) -> Any:
        cut = partial(
            jax.lax.dynamic_slice_in_dim,
            start_index=i * width,
            slice_size=width,
            axis=-1,
        )
        new = take(jax.tree.map(cut, state), cut(process.shifts), steps, tolerance)
        put = partial(
            jax.lax.dynamic_update_slice_in_dim, start_index=i * width, axis=-1
        )
        return jax.tree.map(put, state, new)

    return jax.lax.fori_loop(0, process.num_blocks, advance, process.shifted)


def _sorted(process: _Process, runs: jax.Array) -> _Process:
    """Move the shifts that run to the front."""
    order = jnp.argsort(~runs, stable=True)
    shifted, shifts, places = jax.tree.map(
        lambda x: x[..., order], (process.shifted, process.shifts, process.order)
    )
    return process._replace(shifted=shifted, shifts=shifts, order=places)


def _elements(
    process: _Process, factor: jax.Array, num_shifts: int, tolerance: jax.Array
) -> ShiftedElements:
    """Put all in the order of the arguments."""
    order = jnp.argsort(process.order)[:num_shifts]
    state: Any = jax.tree.map(lambda x: x[..., order], process.shifted)
    value = state.value * factor[None, ..., None].astype(state.value.dtype)
    residual = jnp.sqrt(state.residual_squared)
    ended = ~process.vectors.is_valid[..., None]
    rounding = jnp.finfo(residual.dtype).eps ** 0.25
    limit = jnp.where(ended, jnp.maximum(tolerance, rounding), tolerance)
    is_converged = (residual <= limit) & jnp.all(jnp.isfinite(value), axis=0)
    return ShiftedElements(
        value=jnp.moveaxis(value, 0, -1),
        relative_residual=residual,
        is_converged=is_converged,
        num_steps=state.num_steps,
        has_ended=ended[..., 0],
    )
