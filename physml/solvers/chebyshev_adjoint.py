r"""The pullback of Green's function elements through a Chebyshev series.

With the spectrum of :math:`X = (H - c) / W` inside of [-1, 1] and
:math:`\zeta = (z - c) / W`,

.. math:: \frac{1}{z - H} = \sum_m \frac{2 - \delta_{m0}}{W s} q^m T_m(X), \qquad
          s = \sqrt{\zeta^2 - 1}, \quad q = \frac{1}{\zeta + s}, \quad |q| < 1 .

For cotangents :math:`g_z` of the elements, the series of
:math:`\sum_z g_z G(z)` has scalars for coefficients, so that all shifts share one
recurrence. That of the Chebyshev polynomials neither grows nor decays, so that its
adjoint, a Clenshaw sum, and its run backward in time are as stable as the recurrence
itself: memory for a handful of vectors, nothing is kept, nothing is lost with the
orthogonality of Lanczos vectors. Derivation: docs/derivations/greens_function.md.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from physml.operators.floating_leaves import FloatingLeaves, Leaves, floating_leaves
from physml.operators.linear_operator import LinearOperator
from physml.solvers.matrix_elements import combine
from physml.solvers.spectral_interval import SpectralInterval

CHUNK = 16  # degrees whose coefficients are made together
MAX_DEGREE = 2**24


class ResolventSeries(NamedTuple):
    """Coefficients C_m = sum_z g_z 2 q^m / (W s), m = 0, 1, ..., for each row.

    The coefficient of degree 0 is twice what the series has.
    """

    log_ratio: jax.Array  # log q, (num_z,)
    weight: jax.Array  # 2 g / (W s), (num_z, num_rows)

    def coefficients(self, first: jax.Array | int, number: int) -> jax.Array:
        """Return those of the degrees from `first` on, shape (number, num_rows)."""
        degrees = jnp.arange(number).astype(self.log_ratio.dtype)
        table = jnp.exp(degrees[:, None] * self.log_ratio[None, :])
        power = jnp.exp(jnp.asarray(first, degrees.dtype) * self.log_ratio)
        return table @ (power[:, None] * self.weight)

    def num_degrees(self, tolerance: float) -> jax.Array:
        """Return the degree behind which less than the share `tolerance` is left."""
        decay = -jnp.max(self.log_ratio.real)
        degrees = (jnp.log(1 + 1 / decay) - jnp.log(tolerance)) / decay
        return jnp.ceil(jnp.clip(degrees, 1, MAX_DEGREE)).astype(jnp.int32)

    def even_and_odd(self) -> tuple[jax.Array, jax.Array]:
        """Return the sums over all even and all odd degrees, shape (num_rows,)."""
        ratio = jnp.exp(self.log_ratio)
        even = self.weight / (-jnp.expm1(2 * self.log_ratio))[:, None]
        return jnp.sum(even, 0), jnp.sum(ratio[:, None] * even, 0)


def resolvent_series(
    z: jax.Array, cotangent: jax.Array, interval: SpectralInterval
) -> ResolventSeries:
    """Expand sum_z g_z / (z - H); z (num_z,), cotangent (num_z, num_rows), complex."""
    center, width = (x.astype(z.dtype) for x in interval)
    zeta = (z - center) / width
    root = jnp.sqrt(zeta - 1) * jnp.sqrt(zeta + 1)  # its cut is [-1, 1]
    weight = 2 * cotangent / (root * width)[:, None]
    return ResolventSeries(-jnp.log(zeta + root), weight)


class ChebyshevCotangents(NamedTuple):
    """Derivatives as JAX has them: of the operator's leaves, column, and rows."""

    leaves: Leaves
    column: jax.Array
    rows: jax.Array | None  # None for numbers of sites


def pull_elements(
    operator: LinearOperator,
    column: jax.Array,
    rows: jax.Array,
    series: ResolventSeries,
    interval: SpectralInterval,
    tolerance: float,
) -> ChebyshevCotangents:
    r"""Return the derivatives of :math:`\mathrm{Re} \sum_m C_m \langle u|T_m(X)|b \rangle`.

    Parameters
    ----------
    operator
        Hermitian, H; four applications for each degree of the series, or what costs as
        much: one on the way up, and on the way down one of each recurrence, and the
        pullback to the leaves.
    column
        b, shape (n,), complex if H or a row is.
    rows
        Numbers of sites (m,), or vectors u (m, n).
    series, interval
        From `resolvent_series`, with the cotangents; and what holds the spectrum.
    tolerance
        Share of the series that may be cut off.
    """
    x = _ScaledOperator(floating_leaves(operator), operator, interval)

    def source(coefficient: jax.Array, *_: jax.Array) -> jax.Array:
        values = _cast(coefficient.conj(), column.dtype)
        return combine(rows, values, operator.size).astype(column.dtype)

    def rows_of(coefficient: jax.Array, vector: jax.Array) -> jax.Array:
        if jnp.issubdtype(rows.dtype, jnp.integer):
            return jnp.zeros((), vector.dtype)
        outer = (coefficient[:, None] * vector[None, :].astype(coefficient.dtype)).conj()
        return _cast(outer, rows.dtype)

    descent = _Descent(
        x,
        lambda chunk: series.coefficients(chunk * CHUNK, CHUNK),
        source,
        rows_of,
    )
    state = descent.run(column, series.num_degrees(tolerance))
    half = series.coefficients(0, 1)[0] / 2
    direct = state.adjoint - source(half) - x(state.adjoint_after)
    is_site = jnp.issubdtype(rows.dtype, jnp.integer)
    return ChebyshevCotangents(
        x.leaves(state, column, state.adjoint_after),
        direct.conj(),
        None if is_site else state.rows - rows_of(half, column),
    )


def pull_diagonal(
    operator: LinearOperator,
    column: jax.Array,
    series: ResolventSeries,
    interval: SpectralInterval,
    tolerance: float,
) -> Leaves:
    r"""Return the derivatives of :math:`\mathrm{Re} \sum_m C_m \langle b|T_m(X)|b \rangle`.

    Half the degrees of `pull_elements`, since :math:`T_{2m} = 2 T_m^2 - 1` and
    :math:`T_{2m+1} = 2 T_{m+1} T_m - T_1`. For a real symmetric H, a real b and the
    leaves alone; `series` has one row.
    """
    x = _ScaledOperator(floating_leaves(operator), operator, interval, True)

    def coefficients(chunk: jax.Array) -> jax.Array:
        """Return 2 C_{2m-1}, 4 C_{2m}, 2 C_{2m+1} for each m of a chunk."""
        first = 2 * CHUNK * chunk - 1
        row = 2 * _cast(series.coefficients(first, 2 * CHUNK + 1)[:, 0], column.dtype)
        row = row.at[0].multiply((chunk > 0).astype(row.dtype))
        return jnp.stack([row[0:-1:2], 2 * row[1::2], row[2::2]], 1)

    def source(
        coefficient: jax.Array, before: jax.Array, here: jax.Array, after: jax.Array
    ) -> jax.Array:
        down, even, up = coefficient
        return down * before + even * here + up * after

    descent = _Descent(x, coefficients, source, lambda *_: jnp.zeros((), column.dtype))
    state = descent.run(column, series.num_degrees(tolerance) // 2 + 1)
    odd = _cast(series.even_and_odd()[1], column.dtype)
    return x.leaves(state, column, state.adjoint_after + odd * column)


class _ScaledOperator(NamedTuple):
    """X = (H - c) / W."""

    floating: FloatingLeaves
    operator: LinearOperator
    interval: SpectralInterval
    is_symmetric: bool = False  # whether cotangents are made symmetric, too

    def __call__(self, vector: jax.Array) -> jax.Array:
        return self.scaled(self.operator(vector), vector)

    def scaled(self, product: jax.Array, vector: jax.Array) -> jax.Array:
        """Return X v from H v."""
        center, width = (part.astype(vector.dtype) for part in self.interval)
        return (product - center * vector) / width

    def apply_and_pull(
        self, here: jax.Array, adjoint: jax.Array
    ) -> tuple[jax.Array, jax.Array, Leaves]:
        """Return X t, X lambda, and the pullback of <lambda|H|t> to the leaves."""
        if not self.is_symmetric:
            product, pull = self.floating.apply_and_pull(here)
            return self.scaled(product, here), self(adjoint), pull(adjoint.conj())
        both = jnp.stack([here, adjoint])
        products, pull = self.floating.apply_and_pull(both)
        own, other = self.scaled(products, both)
        return own, other, pull(both[::-1] / 2)

    def leaves(self, state: "_State", column: jax.Array, first: jax.Array) -> Leaves:
        """Return the cotangents of the leaves; T_{-1} = T_1 was counted as it is."""
        width = self.interval.half_width
        return jax.tree.map(
            lambda total, excess: (2 * total - excess) / width.astype(total.dtype),
            state.leaves,
            self.apply_and_pull(column, first)[2],
        )


class _State(NamedTuple):
    """What the way down carries: t_{m+1}, t_m, lambda_{m+1}, lambda_{m+2}, sums."""

    after: jax.Array
    here: jax.Array
    adjoint: jax.Array
    adjoint_after: jax.Array
    leaves: Leaves
    rows: jax.Array


class _Descent(NamedTuple):
    """The recurrence up to a degree, and down again together with its adjoint."""

    x: _ScaledOperator
    coefficients: Callable[[jax.Array], jax.Array]
    source: Callable[..., jax.Array]
    rows_of: Callable[[jax.Array, jax.Array], jax.Array]

    def run(self, column: jax.Array, num_degrees: jax.Array) -> _State:
        """Return the state below degree 0."""
        num_chunks = -(-num_degrees // CHUNK)
        top = jax.lax.fori_loop(0, num_chunks, self._up, (self.x(column), column))
        # top holds the degrees N - 1 and N, a multiple of the chunk
        zero = jnp.zeros_like(column)
        rows = jnp.zeros_like(self.rows_of(self.coefficients(jnp.array(0))[0], column))
        state = _State(
            top[1], top[0], zero, zero, self.x.floating.zeros(), rows
        )

        def chunk(number: jax.Array, state: _State) -> _State:
            coefficients = self.coefficients(num_chunks - 1 - number)
            return jax.lax.scan(self._down, state, coefficients, reverse=True)[0]

        return jax.lax.fori_loop(0, num_chunks, chunk, state)

    def _up(self, _: jax.Array, pair: tuple) -> tuple:
        def step(pair: tuple, _: None) -> tuple[tuple, None]:
            before, here = pair
            return (here, 2 * self.x(here) - before), None

        return jax.lax.scan(step, pair, None, length=CHUNK)[0]

    def _down(self, state: _State, coefficient: jax.Array) -> tuple[_State, None]:
        x_here, x_adjoint, pulled = self.x.apply_and_pull(state.here, state.adjoint)
        before = 2 * x_here - state.after
        source = self.source(coefficient, before, state.here, state.after)
        return _State(
            after=state.here,
            here=before,
            adjoint=source + 2 * x_adjoint - state.adjoint_after,
            adjoint_after=state.adjoint,
            leaves=jax.tree.map(jnp.add, state.leaves, pulled),
            rows=state.rows + self.rows_of(coefficient, state.here),
        ), None


def _cast(values: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Change the dtype; the real part where it is real."""
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return values.astype(dtype)
    return values.real.astype(dtype)
