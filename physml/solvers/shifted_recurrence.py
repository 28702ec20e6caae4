r"""Green's functions of many shifts from one Lanczos process: scalars alone.

Reduced shifted conjugate gradients, Table III of Nagai, Shinohara, Futamura and Sakurai
(arXiv:1607.03992), in the Lanczos form. With a_k, b_k and elements
:math:`u_k = \langle u|v_k\rangle` of `physml.solvers.lanczos`, the Galerkin solution of
:math:`(z - H) x = b` in the first k + 1 vectors has

.. math:: \langle u|x_{k+1}\rangle = \langle u|x_k\rangle
          + |b| \frac{w_k}{D_k} \pi_k, \quad
          D_k = z - a_k - \frac{b_k^2}{D_{k-1}}, \quad
          w_k = \frac{b_k}{D_{k-1}} w_{k-1}, \quad
          \pi_k = u_k + \frac{b_k}{D_{k-1}} \pi_{k-1}.

==============================  ========================================================
Table III, a line for shift z   here
==============================  ========================================================
6, 9: alpha_k, beta_k           a_k, b_k+1 of the Lanczos process (departure 1)
11: Sigma_k+1 = V r_k+1         u_k, an element of the normalized residual v_k
13: rho_k+1                     w_k = 1 / p_k(z): the size of the residual
17: Pi_k+1                      pi_k = P_k / p_k
15: Xi_k+1                      X, the value
==============================  ========================================================

Departures, and why:

1. Lanczos instead of conjugate gradients for the seed: no division by (p, A p), which
   vanishes for indefinite systems, at once on a bipartite lattice without a potential.
2. Instead of w_k, pi_k and D_k this carries their inverse, the orthonormal polynomials
   of the process, and sums: ``b_k+1 p_k+1 = (z - a_k) p_k - b_k p_k-1``,
   ``P_k = P_k-1 + u_k p_k``. Nothing is divided by D_k, which vanishes where z is an
   eigenvalue of the tridiagonal matrix (a Ritz value), and w_k cannot underflow.
3. All solutions of the first k rows of the tridiagonal system are
   :math:`y_j = t p_j - q_j` with one free number t. Galerkin's has
   :math:`t = q_{k+1}/p_{k+1}`, infinite at a Ritz value. Here t gives the least
   residual, :math:`\rho_{k+1} = (|p_k|^2 + |p_{k+1}|^2)^{-1/2}` relative to \|b\|;
   Galerkin's is :math:`|p_{k+1}|^{-1}`. Two neighbors p never vanish together, so that
   this one always exists.
4. Each shift stops at its own relative residual; the published program stops all of
   them at the largest, an absolute one.
5. Where the Krylov space is exhausted (b_k+1 = 0) the formulas give the exact solution
   and end.
6. The row u = b has a cheaper form: see `physml.solvers.continued_fraction`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from physml.solvers.lanczos import LanczosSteps


class ShiftedState(NamedTuple):
    """What step k starts from, for s shifts of each of several columns."""

    polynomial: jax.Array  # p_k(z), (..., s)
    lower: jax.Array  # b_k p_k-1(z), (..., s)
    last: jax.Array  # y_k-1 = conj(b_k p_k) / M_k, kept as conj(b_k p_k-1) / M_k
    residual_squared: jax.Array  # rho_k^2, relative, (..., s)
    projection: jax.Array  # P_k-1, (m, ..., s)
    value: jax.Array  # X_k = <u|x_k> / |b|, (m, ..., s)
    num_steps: jax.Array  # how many this shift has made, (..., s)


def shifted_start(
    shifts: jax.Array, batch_shape: tuple[int, ...], num_rows: int
) -> ShiftedState:
    """Return the state before step 0.

    Parameters
    ----------
    shifts
        z, complex, shape (s,).
    batch_shape
        That of the columns.
    num_rows
        m.
    """
    one = jnp.ones((*batch_shape, *shifts.shape), shifts.dtype)
    zero = jnp.zeros_like(one)
    rows = jnp.zeros((num_rows, *one.shape), shifts.dtype)
    steps = jnp.zeros(one.shape, jnp.int32)
    return ShiftedState(one, zero, zero, one.real, rows, rows, steps)


def shifted_chunk(
    state: ShiftedState, shifts: jax.Array, steps: LanczosSteps, tolerance: jax.Array
) -> ShiftedState:
    """Take the numbers of consecutive Lanczos steps into account, (c, ...) each.

    A shift whose relative residual is at or below the tolerance does not change.
    """

    def step(state: ShiftedState, numbers: LanczosSteps) -> tuple[ShiftedState, None]:
        return shifted_step(state, shifts, numbers, tolerance), None

    # two steps at a time: see `lanczos_chunk`
    return jax.lax.scan(step, state, steps, unroll=2)[0]


def shifted_step(
    state: ShiftedState, shifts: jax.Array, numbers: LanczosSteps, tolerance: jax.Array
) -> ShiftedState:
    r"""Take one Lanczos step into account.

    With :math:`\zeta = z - a_k`, :math:`A = b_{k+1} p_{k+1}` and
    :math:`M_{k+1} = |A|^2 + b_{k+1}^2 |p_k|^2` the solution of least residual has

    .. math:: y_k = A^* / M_{k+1}, \qquad \rho_{k+1}^2 = b_{k+1}^2 / M_{k+1},

    and its free number t grows by

    .. math:: \delta = \zeta y_k y' + p_k^* (\rho_k^2 y_k + \rho_{k+1}^2 y'), \qquad
              y' = (b_k p_{k-1})^* / M_k,

    so that :math:`X_{k+1} = X_k + \delta P_{k-1} + u_k y_k`.
    """
    p, lower, last, rho_squared, projection, value, num_steps = state
    a, b = numbers.diagonal[..., None], numbers.coupling[..., None]
    is_running = numbers.is_valid[..., None] & (rho_squared > tolerance**2)

    z = jnp.broadcast_to(shifts, p.shape)
    zeta = jax.lax.complex(z.real - a, z.imag)
    upper = zeta * p - lower  # A
    inverse = 1 / (squared(upper) + b**2 * squared(p))  # 1 / M_k+1
    y = scaled(upper.conj(), inverse)
    rho_squared_next = b**2 * inverse
    growth = zeta * (y * last) + p.conj() * (
        scaled(y, rho_squared) + scaled(last, rho_squared_next)
    )
    u = jnp.moveaxis(jnp.asarray(numbers.elements), -1, 0)[..., None]  # (m, ..., 1)
    change = growth[None] * projection + _times(y[None], u)
    projection = projection + _times(p[None], u)
    lower = scaled(p, b)
    return ShiftedState(
        polynomial=scaled(upper, 1 / b),
        lower=lower,
        last=scaled(lower.conj(), inverse),
        residual_squared=jnp.where(is_running, rho_squared_next, rho_squared),
        projection=projection,
        value=jnp.where(is_running[None], value + change, value),
        num_steps=num_steps + is_running.astype(jnp.int32),
    )


def squared(x: jax.Array) -> jax.Array:
    """Return |x|^2."""
    return x.real**2 + x.imag**2


def scaled(x: jax.Array, factor: jax.Array) -> jax.Array:
    """Multiply complex numbers by real ones."""
    return jax.lax.complex(x.real * factor, x.imag * factor)


def _times(x: jax.Array, factor: jax.Array) -> jax.Array:
    """Multiply complex numbers by real or complex ones."""
    if jnp.iscomplexobj(factor):
        return x * factor
    return scaled(x, factor)
