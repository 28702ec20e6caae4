r"""Hamiltonian Monte Carlo on a product of unit spheres.

Each spin gets a momentum in its tangent plane, and both move under

.. math:: H = -\log\pi(\mathbf S) + \tfrac12 \sum_i \mathbf p_i^2 .

One step of size :math:`\epsilon` is a half kick
:math:`\mathbf p \mathrel{+}= \tfrac\epsilon2 P_S \nabla\log\pi`, with :math:`P_S` the
projection on the tangent plane, the exact rotation along the great circle with
:math:`\omega = |\mathbf p|`,

.. math::
    \mathbf S' = \mathbf S \cos\omega\epsilon
    + \frac{\mathbf p}{\omega} \sin\omega\epsilon , \qquad
    \mathbf p' = \mathbf p \cos\omega\epsilon - \omega \mathbf S \sin\omega\epsilon ,

and another half kick. Each part is exact and keeps the volume of phase space; the whole
is symmetric, so it runs back along itself when p is turned around. A trajectory is
therefore a proposal with the log correction 0 for H, accepted with
:math:`\min(1, e^{-\Delta H})`.

References: S. Duane et al., Phys. Lett. B 195, 216 (1987); S. Byrne, M. Girolami,
Scand. J. Stat. 40, 825 (2013).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from physml.failures import expected
from physml.pytrees import register_dataclass
from physml.samplers.acceptance import judge, log_uniform
from physml.samplers.geometry import dot, tangent, unit
from physml.samplers.kernel import StepSize, Tally, choose

# 0.65 is best for the cost in high dimension, and the optimum is flat towards larger
# ones, which are safer: A. Beskos et al., Bernoulli 19, 1501 (2013).
TRAJECTORY_ACCEPTANCE = 0.8


class HamiltonianState(NamedTuple):
    """A configuration, and what the first half kick of the next trajectory needs."""

    spins: jax.Array
    log_density: jax.Array
    gradient: jax.Array  # in the space around the spheres, not projected


class PhasePoint(NamedTuple):
    """Where a trajectory is."""

    state: HamiltonianState
    momenta: jax.Array


def great_circle(
    spins: jax.Array, momenta: jax.Array, time: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Move freely along great circles: exact, reversible, and it keeps volume.

    Parameters
    ----------
    spins
        Unit vectors, shape (..., 3).
    momenta
        Their velocities, at right angles to them.
    time
        A scalar.

    Returns
    -------
    Spins and momenta, of unit length and at right angles up to rounding.
    """
    speed = jnp.sqrt(dot(momenta, momenta))
    angle = speed * time
    safe = jnp.where(speed > 0, speed, jnp.ones_like(speed))
    per_speed = jnp.where(speed > 0, jnp.sin(angle) / safe, time)  # sin(w t) / w
    new_spins = jnp.cos(angle) * spins + per_speed * momenta
    new_momenta = jnp.cos(angle) * momenta - speed * jnp.sin(angle) * spins
    return new_spins, new_momenta


def leapfrog(
    evaluate: Callable[[jax.Array], HamiltonianState],
    point: PhasePoint,
    step_size: jax.Array,
    num_steps: jax.Array | int,
) -> PhasePoint:
    """Follow a trajectory.

    Parameters
    ----------
    evaluate
        Returns the state at a configuration.
    point
        Where it starts.
    step_size
        The time of a step; turned around it runs back.
    num_steps
        How many, each with one gradient.
    """

    def kick(state: HamiltonianState, momenta: jax.Array) -> jax.Array:
        return momenta + step_size / 2 * tangent(state.spins, state.gradient)

    def one_step(_: jax.Array, point: PhasePoint) -> PhasePoint:
        momenta = kick(point.state, point.momenta)
        spins, momenta = great_circle(point.state.spins, momenta, step_size)
        state = evaluate(unit(spins))
        momenta = tangent(state.spins, momenta)  # rounding alone takes it out
        return PhasePoint(state, kick(state, momenta))

    return jax.lax.fori_loop(0, num_steps, one_step, point)


def total_energy(point: PhasePoint) -> jax.Array:
    """Return H, a scalar in units of the temperature."""
    return jnp.sum(point.momenta**2) / 2 - point.state.log_density


@partial(register_dataclass, static=("step_size",))
@dataclass(frozen=True)
class Hamiltonian:
    """One trajectory with new momenta, accepted by the change of H.

    Parameters
    ----------
    log_density
        Maps spins, shape (n_1, ..., n_d, 3), to a real scalar; differentiable.
    num_steps
        Gradients of a trajectory.
    step_size
        The time of a step.
    jitter
        The step size of a trajectory is drawn up to this fraction larger or smaller,
        which breaks resonances with spin waves; the draw does not look at the
        configuration, so each trajectory stays reversible.
    """

    log_density: Partial
    num_steps: int | jax.Array = 10
    step_size: StepSize = field(default=StepSize(0.1, TRAJECTORY_ACCEPTANCE))
    jitter: float | jax.Array = 0.2

    is_reversible: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse a trajectory that goes nowhere, and steps that may turn around."""
        if isinstance(self.num_steps, int) and self.num_steps < 1:
            raise expected("1 step or more", self.num_steps, "raise num_steps")
        if isinstance(self.jitter, int | float) and not 0 <= self.jitter < 1:
            raise expected("a jitter from 0 to below 1", self.jitter, "try 0.2")

    def step_sizes(self) -> dict[str, StepSize]:
        """Return the one of the leapfrog."""
        return {"hamiltonian": self.step_size}

    def start(self, spins: jax.Array) -> HamiltonianState:
        """Return the state at a configuration."""
        value, gradient = jax.value_and_grad(self.log_density)(spins)
        return HamiltonianState(spins, value, gradient)

    def step(
        self,
        key: jax.Array,
        state: HamiltonianState,
        step_sizes: dict[str, jax.Array],
    ) -> tuple[HamiltonianState, Tally]:
        """Follow one trajectory and judge it."""
        momentum_key, jitter_key, accept_key = jax.random.split(key, 3)
        spins = state.spins
        noise = jax.random.normal(momentum_key, spins.shape, spins.dtype)
        first = PhasePoint(state, tangent(spins, noise))
        spread = jax.random.uniform(jitter_key, (), spins.dtype, -1.0, 1.0)
        step_size = step_sizes["hamiltonian"] * (1 + self.jitter * spread)
        last = leapfrog(self.start, first, step_size, self.num_steps)
        log_ratio = total_energy(first) - total_energy(last)
        verdict = judge(log_uniform(accept_key, (), log_ratio.dtype), log_ratio)
        tally = Tally(
            {"hamiltonian": verdict.probability}, verdict.is_not_finite.astype(int)
        )
        return choose(verdict.is_accepted, last.state, state), tally
