r"""Elements of the resolvent as a Chebyshev series, all shifts from one recurrence.

With the spectrum of :math:`X = (H - c) / W` inside of [-1, 1],
:math:`\zeta = (z - c) / W`, :math:`s = \sqrt{\zeta^2 - 1}` and
:math:`q = 1 / (\zeta + s)`, |q| < 1,

.. math:: \langle u|(z - H)^{-1}|b\rangle = \frac{1}{W s} \Big[ \mu_0
          + 2 \sum_{n=1}^{N-1} q^n \mu_n \Big] + \ldots , \qquad
          \mu_n = \langle u|T_n(X)|b\rangle .

The residual r of the truncated solution has

.. math:: \frac{\|r\|}{\|b\|} \le \frac{|q|^{N-1} + |q|^N}{|s|}
          + \frac{\gamma \epsilon}{|s| (1 - |q|)} .

The second term is rounding: a step of the recurrence errs by :math:`\delta_n`, of some
:math:`2 \gamma \epsilon \|b\|`, and the solution has
:math:`\sum_n q^n \delta_n / s` more residual for it. For u = b the moments are
:math:`\mu_{2k} = 2 \langle t_k|t_k\rangle - \mu_0`,
:math:`\mu_{2k+1} = 2 \langle t_{k+1}|t_k\rangle - \mu_1` with
:math:`t_k = T_k(X) b`, two for each product with H.

A. Weisse, G. Wellein, A. Alvermann, H. Fehske, Rev. Mod. Phys. 78, 275 (2006).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from physml.operators.linear_operator import LinearOperator
from physml.solvers.shifted_elements import ShiftedElements
from physml.solvers.spectral_interval import SpectralInterval
from physml.solvers.vector_rows import norms_squared, real_overlaps, row_elements

CHUNK = 16  # steps whose moments are summed up together
ROUNDING = 8.0  # gamma: for a product with a few elements in each row of H
EXCESS = 1e-6  # by which |t_k|^2 may be larger than |b|^2
MOST_DEGREES = 2**30


class ResolventTerms(NamedTuple):
    """What the series of each shift is made of, (num_z,)."""

    log_ratio: jax.Array  # log q
    root: jax.Array  # s
    prefactor: jax.Array  # 1 / (W s)

    def bound(self, num_degrees: jax.Array) -> jax.Array:
        """Return the bound of the relative residuals of N degrees, (num_z,)."""
        log, size = jnp.minimum(self.log_ratio.real, 0), jnp.abs(self.root)
        left_out = jnp.exp((num_degrees.astype(log.dtype) - 1) * log) * (
            1 + jnp.exp(log)
        )
        return (left_out + self._rounding()) / size

    def num_degrees(self, tolerance: jax.Array | float) -> jax.Array:
        """Return N for which each bound, but for rounding, is half of the tolerance.

        `MOST_DEGREES` where z lies on the interval and no number is enough, (num_z,).
        """
        log = jnp.minimum(self.log_ratio.real, -jnp.finfo(self.root.real.dtype).tiny)
        aim = jnp.abs(self.root) * tolerance / (2 * (1 + jnp.exp(log)))
        needed = 1 + jnp.ceil(jnp.log(aim) / log)
        return jnp.clip(needed, 2, MOST_DEGREES).astype(jnp.int32)

    def _rounding(self) -> jax.Array:
        gap = -jnp.expm1(jnp.minimum(self.log_ratio.real, 0))
        return ROUNDING * jnp.finfo(gap.dtype).eps / gap


def resolvent_terms(z: jax.Array, interval: SpectralInterval) -> ResolventTerms:
    """Return the terms for shifts z, (num_z,), off the interval."""
    center, width = (x.astype(z.dtype) for x in interval)
    zeta = (z - center) / width
    root = jnp.sqrt(zeta - 1) * jnp.sqrt(zeta + 1)  # its cut is [-1, 1]
    return ResolventTerms(-jnp.log(zeta + root), root, 1 / (root * width))


class _State(NamedTuple):
    """What a chunk of steps starts from."""

    vector: jax.Array  # t_k, (..., n)
    following: jax.Array  # t_k+1
    power: jax.Array  # q^m, m the first degree of the chunk, (num_z,)
    total: jax.Array  # sum of q^m mu_m, (num_z, ..., m)
    largest: jax.Array  # |t_k|^2 so far, (...)


@jax.jit
def chebyshev_elements(
    interval: SpectralInterval,
    operator: LinearOperator,
    shifts: jax.Array,
    columns: jax.Array,
    rows: jax.Array | None = None,
    *,
    tolerance: float | jax.Array = 1e-10,
    max_iterations: int | jax.Array,
) -> ShiftedElements:
    """Return <u|(z - H)^-1|b> for all shifts, rows and columns.

    Parameters
    ----------
    interval
        Holds the spectrum; where it does not, residuals are infinite.
    operator, shifts, columns, rows
        As for `physml.solvers.reduced_shifted_krylov`.
    tolerance
        A shift has converged when the bound of its relative residual is at or below
        this. All have the same number of steps, as many as the worst needs.
    max_iterations
        Products with H at most. A shift that needs more is not waited for: its
        residual is infinite.
    """
    terms = resolvent_terms(shifts, interval)
    each = 2 if rows is None else 1  # degrees of a step
    most = jnp.minimum(max_iterations, (MOST_DEGREES - 1) // each).astype(jnp.int32)
    needed = terms.num_degrees(tolerance)
    is_reached = needed <= each * most
    num_degrees = jnp.max(jnp.where(is_reached, needed, each))
    after = interval.mapped(operator(columns), columns)
    first = _overlaps(rows, columns, after) / each  # mu_0, or mu_0 and mu_1
    total = jnp.zeros((len(shifts), *first.shape[1:]), shifts.dtype)
    size = norms_squared(columns)
    end = jax.lax.fori_loop(
        0,
        -(-num_degrees // (each * CHUNK)),
        _next_chunk(operator, interval, rows, terms, first, num_degrees),
        _State(columns, after, jnp.ones_like(shifts), total, size),
    )
    value = 2 * end.total - first[0].astype(end.total.dtype)[None]
    value = jnp.moveaxis(value * _aligned(terms.prefactor, value), 0, -2)
    # NaN in the operator is NaN in the interval, and may leave no steps to make
    grown = (end.largest + 0 * interval.center) / jnp.where(size > 0, size, 1)
    bound = jnp.where(is_reached, terms.bound(num_degrees), jnp.inf)
    residual = _residual(bound, grown)
    return ShiftedElements(
        value=value,
        relative_residual=residual,
        is_converged=(residual <= tolerance) & jnp.all(jnp.isfinite(value), axis=-1),
        num_steps=jnp.full(residual.shape, -(-num_degrees // each)),
        has_ended=jnp.zeros(size.shape, bool),
    )


def _next_chunk(
    operator: LinearOperator,
    interval: SpectralInterval,
    rows: jax.Array | None,
    terms: ResolventTerms,
    first: jax.Array,
    num_degrees: jax.Array,
) -> Callable[[jax.Array, _State], _State]:
    """Return the function that makes the steps of a chunk, given its number."""
    length = CHUNK if rows is not None else 2 * CHUNK
    place = jnp.arange(length, dtype=jnp.int32)
    powers = jnp.exp(place.astype(terms.root.dtype)[:, None] * terms.log_ratio[None])
    step = partial(_step, operator, interval, rows)

    def chunk(number: jax.Array, state: _State) -> _State:
        pair = state.vector, state.following
        (vector, following), moments = jax.lax.scan(step, pair, None, length=CHUNK)
        moments = moments.reshape(length, *moments.shape[2:])  # (degrees, ..., m)
        if rows is None:
            moments = moments - first[place % 2]
        is_wanted = _aligned(number * length + place < num_degrees, moments)
        sums = _sum(powers, jnp.where(is_wanted, moments, jnp.zeros_like(moments)))
        return _State(
            vector,
            following,
            state.power * jnp.exp(length * terms.log_ratio),
            state.total + _aligned(state.power, sums) * sums,
            jnp.maximum(state.largest, norms_squared(vector)),
        )

    return chunk


def _step(
    operator: LinearOperator,
    interval: SpectralInterval,
    rows: jax.Array | None,
    pair: tuple[jax.Array, jax.Array],
    _: None,
) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    vector, following = pair
    overlaps = _overlaps(rows, vector, following)
    after = 2 * interval.mapped(operator(following), following) - vector
    return (following, after), overlaps


def _overlaps(
    rows: jax.Array | None, vector: jax.Array, following: jax.Array
) -> jax.Array:
    """Return the overlaps behind the moments of a step, (1 or 2, ..., m)."""
    if rows is None:
        two = norms_squared(vector), real_overlaps(following, vector)
        return 2 * jnp.stack(two)[..., None]
    return row_elements(rows, vector)[None]


def _sum(powers: jax.Array, moments: jax.Array) -> jax.Array:
    """Return the sum over degrees of q^m mu_m, (num_z, ..., m)."""
    if jnp.iscomplexobj(moments):
        return jnp.tensordot(powers.T, moments.astype(powers.dtype), 1)
    parts = (jnp.tensordot(x.T, moments, 1) for x in (powers.real, powers.imag))
    return jax.lax.complex(*parts)


def _residual(bound: jax.Array, grown: jax.Array) -> jax.Array:
    """Return the bound; infinite for a spectrum outside, NaN for an H of NaN."""
    bound = jnp.expand_dims(bound, tuple(range(grown.ndim)))
    grown = grown[..., None]
    residual = jnp.where((grown <= 1 + EXCESS) & jnp.isfinite(bound), bound, jnp.inf)
    return jnp.where(jnp.isnan(grown), jnp.nan, residual)


def _aligned(numbers: jax.Array, array: jax.Array) -> jax.Array:
    """Give to numbers, one for each place of the first axis, the axes of an array."""
    return numbers.reshape(-1, *(1,) * (array.ndim - 1))
