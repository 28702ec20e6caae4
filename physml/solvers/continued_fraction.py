r"""Diagonal elements of the resolvent at many shifts: a continued fraction.

.. math:: \frac{\langle b|(z - H)^{-1}|b\rangle}{\langle b|b\rangle} = \cfrac{1}{z - a_0
          - \cfrac{b_1^2}{z - a_1 - \cdots}}

with a_k, b_k of `physml.solvers.lanczos`. Its convergents are q_k / p_k, where both
polynomials satisfy the three-term relation

.. math:: b_{k+1} p_{k+1} = (z - a_k) p_k - b_k p_{k-1}, \qquad
          p_0 = 1,\ p_{-1} = 0, \quad q_0 = 0,\ b_0 q_{-1} = -1.

It is the row u = b of `physml.solvers.shifted_recurrence`, with the same residual and
the same free number t, here in closed form:

.. math:: t_k = \frac{p_k^* q_k + p_{k-1}^* q_{k-1}}{|p_k|^2 + |p_{k-1}|^2}, \qquad
          \rho_k = (|p_k|^2 + |p_{k-1}|^2)^{-1/2}.

So a step multiplies and adds, and divides by nothing that could vanish.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from physml.solvers.lanczos import LanczosSteps
from physml.solvers.shifted_recurrence import scaled, squared


class FractionState(NamedTuple):
    """What step k starts from, for s shifts of each of several columns: (..., s)."""

    p: jax.Array
    last_p: jax.Array  # p_k-1
    q: jax.Array
    last_q: jax.Array  # q_k-1
    num_steps: jax.Array

    @property
    def residual_squared(self) -> jax.Array:
        """Relative to |b|, (..., s)."""
        return 1 / (squared(self.p) + squared(self.last_p))

    @property
    def value(self) -> jax.Array:
        """The element for a column of norm 1, (1, ..., s)."""
        product = self.p.conj() * self.q + self.last_p.conj() * self.last_q
        return scaled(product, self.residual_squared)[None]


def fraction_start(shifts: jax.Array, batch_shape: tuple[int, ...]) -> FractionState:
    """Return the state before step 0: shifts z, complex, (s,); the shape of columns."""
    one = jnp.ones((*batch_shape, *shifts.shape), shifts.dtype)
    zero, steps = jnp.zeros_like(one), jnp.zeros(one.shape, jnp.int32)
    return FractionState(one, zero, zero, -one, steps)


def fraction_chunk(
    state: FractionState, shifts: jax.Array, steps: LanczosSteps, tolerance: jax.Array
) -> FractionState:
    """Take the numbers of consecutive Lanczos steps into account, (c, ...) each.

    A shift whose relative residual is at or below the tolerance does not change. That
    is looked at before the chunk; at each step only if the process ends in it, or if
    numbers overflow, which takes a shift that is large beside H.
    """
    z = jnp.broadcast_to(shifts, state.p.shape)

    def free(state: FractionState, numbers: LanczosSteps) -> tuple[FractionState, None]:
        return _step(state, z, numbers), None

    def careful(
        state: FractionState, numbers: LanczosSteps
    ) -> tuple[FractionState, None]:
        is_running = (state.residual_squared > tolerance**2) & numbers.is_valid[
            ..., None
        ]
        return _where(is_running, _step(state, z, numbers), state), None

    # two steps at a time: see `lanczos_chunk`
    moved = jax.lax.scan(free, state, steps, unroll=2)[0]
    is_running = state.residual_squared > tolerance**2
    is_fine = jnp.isfinite(squared(moved.p) + squared(moved.q))
    return jax.lax.cond(
        jnp.all(steps.is_valid) & jnp.all(is_fine | ~is_running),
        lambda: _where(is_running, moved, state),
        lambda: jax.lax.scan(careful, state, steps)[0],
    )


def _step(state: FractionState, z: jax.Array, numbers: LanczosSteps) -> FractionState:
    a, b = numbers.diagonal[..., None], numbers.coupling[..., None]
    lower = numbers.last_coupling[..., None]
    lower = jnp.where(lower == 0, jnp.ones_like(lower), lower)  # b_0
    inverse = 1 / b
    ratio = lower * inverse
    zeta = jax.lax.complex(z.real - a, z.imag)
    return FractionState(
        p=scaled(zeta * state.p, inverse) - scaled(state.last_p, ratio),
        last_p=state.p,
        q=scaled(zeta * state.q, inverse) - scaled(state.last_q, ratio),
        last_q=state.q,
        num_steps=state.num_steps + 1,
    )


def _where(mask: jax.Array, new: FractionState, old: FractionState) -> FractionState:
    return jax.tree.map(lambda x, y: jnp.where(mask, x, y), new, old)
