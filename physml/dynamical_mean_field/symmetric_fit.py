r"""Follow the best bath that is symmetric about zero while its target moves a little.

Levels come in pairs :math:`\pm e_k` with one coupling, an odd one is zero:

.. math:: \mathrm{Im} \, \Delta(i\omega) = - \frac{V_0^2}{\omega}
          - \sum_k \frac{2 \omega V_k^2}{\omega^2 + e_k^2} , \qquad
          \chi^2 = \sum_n \frac{1}{\omega_n} \left| \Delta(i\omega_n)
                   - \Delta_{\rm target}(i\omega_n) \right|^2 .

Levenberg-Marquardt (Optimistix) from the bath before, inside of compiled loops. It
finds the minimum nearby: the first bath takes many starts.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optimistix

from physml.dynamical_mean_field.bath import Bath
from physml.pytrees import register_dataclass

LEAST_COUPLING = 0.02  # of a start, of all: the derivative vanishes at V = 0
MAX_STEPS = 500


@register_dataclass
@dataclass(frozen=True)
class SymmetricBath:
    """Levels e_k > 0, shape (num_sites // 2,), and V_k; the last one belongs to 0."""

    levels: jax.Array
    couplings: jax.Array

    def bath(self) -> Bath:
        """Return all levels, ascending, with their couplings."""
        order = jnp.argsort(self.levels)
        levels, pairs = self.levels[order], self.couplings[: len(order)][order]
        rest = self.couplings[len(order) :]  # of the level 0
        return Bath(
            jnp.concatenate([-levels[::-1], jnp.zeros_like(rest), levels]),
            jnp.concatenate([pairs[::-1], rest, pairs]),
        )

    def hybridization(self, frequencies: jax.Array) -> jax.Array:
        """Return Im Delta(i omega), shape (num_frequencies,)."""
        pairs, rest = jnp.split(self.couplings**2, [len(self.levels)])
        omega = frequencies[:, None]
        of_pairs = 2 * omega / (omega**2 + self.levels[None] ** 2) @ pairs
        return -of_pairs - jnp.sum(rest) / frequencies


class SymmetricFit(NamedTuple):
    """A bath and its distance chi from the target, an energy^(1/2)."""

    bath: SymmetricBath
    distance: jax.Array


def follow_minimum(
    frequencies: jax.Array, target: jax.Array, bath: SymmetricBath
) -> SymmetricFit:
    """Return the bath of least distance next to another one.

    Parameters
    ----------
    frequencies
        omega_n > 0, shape (num_frequencies,).
    target
        Im Delta there.
    bath
        Where to start.
    """
    weights = 1 / jnp.sqrt(frequencies)

    def residuals(bath: SymmetricBath, _: None) -> jax.Array:
        return (bath.hybridization(frequencies) - target) * weights

    least = LEAST_COUPLING * _total_coupling(frequencies, target)
    couplings = jnp.maximum(jnp.abs(bath.couplings), least)
    start = SymmetricBath(jnp.abs(bath.levels), couplings)
    solver: Any = optimistix.LevenbergMarquardt(rtol=1e-12, atol=1e-12)
    found = optimistix.least_squares(
        residuals, solver, start, max_steps=MAX_STEPS, throw=False
    ).value
    found = SymmetricBath(jnp.abs(found.levels), jnp.abs(found.couplings))
    return SymmetricFit(found, jnp.linalg.norm(residuals(found, None)))


def best_of_starts(
    frequencies: jax.Array,
    target: jax.Array,
    num_sites: int,
    *,
    num_starts: int = 20,
    seed: int = 0,
) -> SymmetricFit:
    """Return the best bath from random starts: levels spread over all frequencies."""
    num_pairs, num_levels = num_sites // 2, (num_sites + 1) // 2
    low, high = jnp.log(frequencies[0]), jnp.log(frequencies[-1])
    scale = _total_coupling(frequencies, target) / num_sites**0.5
    uniform = jax.random.uniform(
        jax.random.key(seed), (num_starts, num_pairs), target.dtype
    )
    levels = jnp.exp(low + (high - low) * uniform)
    couplings = jnp.full((num_starts, num_levels), scale)
    fits = jax.vmap(partial(follow_minimum, frequencies, target))(
        SymmetricBath(levels, couplings)
    )
    best = jnp.nanargmin(fits.distance)
    return jax.tree.map(lambda x: x[best], fits)


def _total_coupling(frequencies: jax.Array, target: jax.Array) -> jax.Array:
    """Return (sum V^2)^(1/2) as the largest frequencies show it."""
    return jnp.sqrt(jnp.max(jnp.abs(target * frequencies)))
