r"""Overrelaxation: each spin reflected about its local field.

Where the log density is linear in each spin,
:math:`\log\pi = \mathbf h_i \cdot \mathbf S_i + \dots` with a field that does not
depend on :math:`\mathbf S_i`, the reflection

.. math:: \mathbf S_i' = 2 \frac{\mathbf S_i \cdot \mathbf h_i}{h_i^2} \mathbf h_i
          - \mathbf S_i

changes nothing of it: a large move that is always accepted. It is its own inverse and
keeps areas, so the log correction is zero. Not ergodic by itself, since the density
stays: mix it with other moves (`Cycle`). Where a density is not linear in each spin,
the reflection about a field that does not depend on the spin is still symmetric, and
the acceptance keeps the chain exact.

Reference: M. Creutz, Phys. Rev. D 36, 515 (1987).
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import jax
import jax.numpy as jnp

from physml.pytrees import register_dataclass
from physml.samplers.geometry import dot, unit
from physml.samplers.kernel import SpinState, StepSize, Tally
from physml.samplers.local_density import Cache, LocalDensity
from physml.samplers.sweep import start_walk, state_at, sweep


class LocalFieldDensity(LocalDensity, Protocol):
    """A `LocalDensity` that is linear in each spin, or nearly so."""

    def local_field(self, cache: Cache, spins: jax.Array, site: jax.Array) -> jax.Array:
        """Return the field at a site, shape (3,); it must not depend on its spin."""
        ...


def reflection(spin: jax.Array, field: jax.Array) -> jax.Array:
    """Return a unit spin reflected about a field; the same spin where it is zero."""
    square = dot(field, field)
    is_zero = square == 0
    safe = jnp.where(is_zero, jnp.ones_like(square), square)
    reflected = unit(2 * dot(spin, field) / safe * field - spin)
    return jnp.where(is_zero, spin, reflected)


@register_dataclass
@dataclass(frozen=True)
class Overrelaxation:
    """One sweep of reflections, forward or backward over the lattice.

    Parameters
    ----------
    density
        What is sampled, with its local fields.
    """

    density: LocalFieldDensity

    is_reversible: ClassVar[bool] = True

    def step_sizes(self) -> dict[str, StepSize]:
        """Return none."""
        return {}

    def start(self, spins: jax.Array) -> SpinState:
        """Return the state at a configuration."""
        return state_at(self.density, spins)

    def step(
        self, key: jax.Array, state: SpinState, step_sizes: dict[str, jax.Array]
    ) -> tuple[SpinState, Tally]:
        """Sweep once."""
        del step_sizes

        def propose(
            cache: Cache, spins: jax.Array, site: jax.Array
        ) -> tuple[jax.Array, jax.Array]:
            spin = jnp.reshape(spins, (-1, spins.shape[-1]))[site]
            new_spin = reflection(spin, self.density.local_field(cache, spins, site))
            return new_spin, jnp.zeros((), spins.dtype)

        walk = sweep(key, self.density, start_walk(self.density, state.spins), propose)
        num_sites = state.spins.size // state.spins.shape[-1]
        state, acceptance, count = walk.end(self.density, num_sites)
        return state, Tally({"overrelaxation": acceptance}, count)
