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
from typing import NamedTuple

import jax
import jax.numpy as jnp

from physml.operators.floating_leaves import FloatingLeaves, Leaves
from physml.operators.linear_operator import LinearOperator
from physml.solvers.chebyshev_resolvent import resolvent_terms
from physml.solvers.resolvent_pullback import Cotangents, PullbackProblem, cast
from physml.solvers.spectral_interval import SpectralInterval

CHUNK = 16  # degrees whose coefficients are made together
MOST_DEGREES = 2**24  # of a recurrence
GROWTH = 1e-3  # of a vector that stands for an eigenvalue outside of the interval


class ResolventSeries(NamedTuple):
    """Coefficients C_m = sum_z g_z 2 q^m / (W s), m = 0, 1, ...

    One for each column and row; that of degree 0 is twice what the series has.
    """

    log_ratio: jax.Array  # log q, (num_z,)
    weight: jax.Array  # 2 g / (W s), (num_z, num_columns, num_rows)

    def powers(self, number: int) -> jax.Array:
        """Return q^0, q^1, ..., shape (number, num_z), that `coefficients` shares."""
        degrees = jnp.arange(number).astype(self.log_ratio.dtype)
        return jnp.exp(degrees[:, None] * self.log_ratio[None, :])

    def coefficients(
        self, first: jax.Array | int, powers: jax.Array, dtype: jnp.dtype
    ) -> jax.Array:
        """Return those of the degrees from `first` on, (number, columns, rows).

        Of a real dtype: their real parts.
        """
        power = jnp.exp(jnp.asarray(first, powers.dtype) * self.log_ratio)
        weight = power[:, None, None] * self.weight
        if jnp.issubdtype(dtype, jnp.complexfloating):
            return jnp.tensordot(powers, weight, 1).astype(dtype)
        left = jnp.concatenate([powers.real, -powers.imag], 1)
        right = jnp.concatenate([weight.real, weight.imag], 0)
        return jnp.tensordot(left, right, 1).astype(dtype)

    def num_degrees(self, tolerance: jax.Array | float) -> jax.Array:
        """Return the degree behind which less than the share `tolerance` is left.

        Of the derivative, whose terms are up to m times larger.
        """
        decay = -jnp.max(self.log_ratio.real)
        degrees = (1.5 * jnp.log(1 + 1 / decay) - jnp.log(tolerance)) / decay
        return jnp.ceil(jnp.clip(degrees, 1, 4 * MOST_DEGREES)).astype(jnp.int32)

    def even_and_odd(self) -> tuple[jax.Array, jax.Array]:
        """Return the sums over all even and all odd degrees, (columns, rows)."""
        ratio = jnp.exp(self.log_ratio)[:, None, None]
        even = self.weight / -jnp.expm1(2 * self.log_ratio)[:, None, None]
        return jnp.sum(even, 0), jnp.sum(ratio * even, 0)


def resolvent_series(
    z: jax.Array, cotangent: jax.Array, interval: SpectralInterval
) -> ResolventSeries:
    """Expand sum_z g_z / (z - H); z (num_z,), g (num_columns, num_z, num_rows)."""
    terms = resolvent_terms(z, interval)
    weight = 2 * terms.prefactor[:, None, None] * jnp.moveaxis(cotangent, 1, 0)
    return ResolventSeries(terms.log_ratio, weight)


def pull_by_series(
    problem: PullbackProblem, series: ResolventSeries, interval: SpectralInterval
) -> Cotangents:
    """Return the derivatives of resolvent elements through their Chebyshev series.

    Parameters
    ----------
    problem
        The elements, and their cotangents.
    series, interval
        From `resolvent_series` for these, and what holds the spectrum of H.
    """
    if problem.rows is None and problem.is_real:
        return _pull_diagonal(problem, series, interval)
    return _pull_elements(problem, series, interval)


def _pull_elements(
    problem: PullbackProblem, series: ResolventSeries, interval: SpectralInterval
) -> Cotangents:
    """Work of four applications of H for each degree.

    One on the way up, and on the way down one for each recurrence and one for the
    pullback to the leaves.
    """
    dtype = problem.columns.dtype
    x = _ScaledOperator(problem.floating_leaves, problem.operator, interval)
    powers = series.powers(CHUNK)

    def source(coefficient: jax.Array, *_: jax.Array) -> jax.Array:
        return problem.row_vectors(coefficient.conj()).astype(dtype)

    descent = _Descent(
        x,
        lambda chunk: series.coefficients(chunk * CHUNK, powers, dtype),
        source,
        problem.row_cotangent,
    )
    degrees = series.num_degrees(problem.tolerance)
    state = descent.run(problem.columns, problem.no_rows(), degrees)
    half = series.coefficients(0, powers, dtype)[0] / 2
    columns = state.adjoint - source(half) - x(state.adjoint_after)
    rows = state.rows - problem.row_cotangent(half, problem.columns)
    leaves = x.leaves(state, problem.columns, state.adjoint_after)
    return problem.cotangents(leaves, columns.conj(), rows)


def _pull_diagonal(
    problem: PullbackProblem, series: ResolventSeries, interval: SpectralInterval
) -> Cotangents:
    """For u = b, real: half the degrees, 2.5 instead of 4 applications for each two.

    By T_{2m} = 2 T_m^2 - 1 and T_{2m+1} = 2 T_{m+1} T_m - T_1.
    """
    column = problem.columns
    x = _ScaledOperator(
        problem.floating_leaves,
        problem.operator,
        interval,
        not getattr(problem.operator, "is_hermitian_for_all_leaves", False),
    )
    powers = series.powers(2 * CHUNK + 1)

    def coefficients(chunk: jax.Array) -> jax.Array:
        """Return 2 C_{2m-1}, 4 C_{2m}, 2 C_{2m+1} for each m of a chunk."""
        first = 2 * CHUNK * chunk - 1
        row = 2 * series.coefficients(first, powers, column.dtype)
        row = row.at[0].multiply((chunk > 0).astype(row.dtype))
        return jnp.stack([row[0:-1:2], 2 * row[1::2], row[2::2]], 1)

    def source(
        coefficient: jax.Array, before: jax.Array, here: jax.Array, after: jax.Array
    ) -> jax.Array:
        down, even, up = coefficient
        return down * before + even * here + up * after

    def no_rows(*_: jax.Array) -> jax.Array:
        return jnp.zeros((), column.dtype)

    descent = _Descent(x, coefficients, source, no_rows)
    degrees = series.num_degrees(problem.tolerance) // 2 + 1
    state = descent.run(column, no_rows(), degrees)
    even, odd = (cast(total, column.dtype) for total in series.even_and_odd())
    even = even + series.coefficients(0, powers, column.dtype)[0] / 2
    last = state.adjoint_after
    columns = state.adjoint - x(last + 2 * odd * column) - 2 * even * column
    leaves = x.leaves(state, column, last + odd * column)
    return problem.cotangents(leaves, columns, no_rows())


class _ScaledOperator(NamedTuple):
    """X = (H - c) / W."""

    floating: FloatingLeaves
    operator: LinearOperator
    interval: SpectralInterval
    is_symmetric: bool = False  # whether cotangents of a dense H are to be, too

    def __call__(self, vector: jax.Array) -> jax.Array:
        return self.interval.mapped(self.operator(vector), vector)

    def apply_and_pull(
        self, here: jax.Array, adjoint: jax.Array
    ) -> tuple[jax.Array, jax.Array, Leaves]:
        """Return X t, X lambda, and the pullback of <lambda|H|t> to the leaves."""
        if not self.is_symmetric:
            product, pull = self.floating.apply_and_pull(here)
            return (
                self.interval.mapped(product, here),
                self(adjoint),
                pull(adjoint.conj()),
            )
        both = jnp.stack([here, adjoint])
        products, pull = self.floating.apply_and_pull(both)
        own, other = self.interval.mapped(products, both)
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

    def run(
        self, columns: jax.Array, rows: jax.Array, num_degrees: jax.Array
    ) -> _State:
        """Return the state below degree 0; NaN where that takes too many degrees."""
        is_short = num_degrees <= MOST_DEGREES
        num_chunks = jnp.where(is_short, -(-num_degrees // CHUNK), 1)
        start = self.x(columns), columns  # T_{-1} = T_1
        here, after = jax.lax.fori_loop(0, num_chunks, self._up, start)
        after = jnp.where(is_short, _nan_if_grown(after, columns), jnp.nan)
        zero = jnp.zeros_like(columns)
        # one degree more than has coefficients, which are below the tolerance there
        state = _State(after, here, zero, zero, self.x.floating.zeros(), rows)

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


def _nan_if_grown(vectors: jax.Array, columns: jax.Array) -> jax.Array:
    """Replace T_N(X) b by NaN where it is longer than b: an eigenvalue is outside."""
    length, most = (jnp.linalg.norm(x, axis=-1) for x in (vectors, columns))
    is_inside = (length <= (1 + GROWTH) * most)[:, None]
    return jnp.where(jnp.broadcast_to(is_inside, vectors.shape), vectors, jnp.nan)
