"""Radial potentials on a disc with a hard wall, with exact levels where they are known.

Units: hbar = m = 1; r and the radius of the disc are lengths. A potential may be any
function of r; these also know their levels.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import jax
import numpy as np
from scipy.special import hyp1f1

from physml.failures import expected
from physml.operators.bessel_basis import bessel_zeros

LARGEST_EXPONENT = 300.0  # exp(710) is beyond float64
LARGEST_ARGUMENT = 2000.0  # E / 2 omega to which SciPy knows the zeros to 1e-12


class DiskPotential(Protocol):
    """What the experiments ask of a potential V(r)."""

    def __call__(self, r: jax.Array) -> jax.Array:
        """Return V(r)."""
        ...

    def exact_levels(
        self, order: float, radius: float, num_levels: int
    ) -> np.ndarray | None:
        """Return the lowest levels of an order |m - flux|, or None if not known."""
        ...


@dataclass(frozen=True)
class FreeDisk:
    r"""No potential: :math:`E_n = j_{\nu n}^2 / 2 R^2`."""

    def __call__(self, r: jax.Array) -> jax.Array:
        """Return V(r)."""
        return 0.0 * r

    def exact_levels(self, order: float, radius: float, num_levels: int) -> np.ndarray:
        """Return the levels from the zeros of the Bessel function."""
        return (bessel_zeros(order, num_levels) / radius) ** 2 / 2


@dataclass(frozen=True)
class HarmonicDisk:
    r"""Harmonic potential, :math:`V = \omega^2 r^2 / 2`.

    The solution that is regular at the center vanishes at the wall where

    .. math:: M\left( \frac{\nu + 1}{2} - \frac{E}{2 \omega}, \nu + 1, \omega R^2
              \right) = 0 ,

    M the confluent hypergeometric function. Without wall E = omega (2n + nu + 1).
    """

    omega: float = 4.0

    def __post_init__(self) -> None:
        """Refuse a frequency that is not positive."""
        _require_positive("omega", self.omega)

    def __call__(self, r: jax.Array) -> jax.Array:
        """Return V(r)."""
        return (self.omega * r) ** 2 / 2

    def exact_levels(
        self, order: float, radius: float, num_levels: int
    ) -> np.ndarray | None:
        """Return the roots; None where M is not known well enough.

        It is as large as exp(omega R^2), and loses digits where E is some thousand
        omega.
        """
        from scipy.optimize import brentq  # slow to import, needed only here

        if self.omega * radius**2 > LARGEST_EXPONENT:
            return None
        free = FreeDisk().exact_levels(order, radius, num_levels + 1)
        # neighbors are 2 omega apart without wall, farther with it
        step = max(self.omega, (free[1] - free[0]) / 2) / 4
        bottom = self.omega * (order + 1)
        top = free[num_levels - 1] + self.omega**2 * radius**2 / 2
        if top > 2 * self.omega * LARGEST_ARGUMENT:
            return None
        grid = np.arange(bottom - step, top + 2 * step, step)
        values = self._at_wall(grid, order, radius)
        if not np.isfinite(values).all():
            return None
        first = np.flatnonzero(np.signbit(values[1:]) != np.signbit(values[:-1]))
        roots = [
            brentq(
                lambda energy: float(self._at_wall(energy, order, radius)),
                grid[i],
                grid[i + 1],
                xtol=1e-13,
            )
            for i in first[:num_levels]
        ]
        return np.asarray(roots) if len(roots) == num_levels else None

    def _at_wall(
        self, energy: np.ndarray | float, order: float, radius: float
    ) -> np.ndarray:
        first = (order + 1) / 2 - energy / (2 * self.omega)
        return np.asarray(hyp1f1(first, order + 1, self.omega * radius**2))


@dataclass(frozen=True)
class QuarticDisk:
    """Quartic potential, V = s r^4; no closed form."""

    strength: float = 10.0  # s

    def __post_init__(self) -> None:
        """Refuse a strength that is not a number."""
        _require_finite("strength", self.strength)

    def __call__(self, r: jax.Array) -> jax.Array:
        """Return V(r)."""
        return self.strength * r**4

    def exact_levels(self, order: float, radius: float, num_levels: int) -> None:
        """Return None: no closed form."""


@dataclass(frozen=True)
class RingDisk:
    """A ring, V = s (r^2 - a^2)^2; no closed form."""

    strength: float = 1000.0  # s
    ring_radius: float = 0.5  # a

    def __post_init__(self) -> None:
        """Refuse numbers that are none, and a ring without radius."""
        _require_finite("strength", self.strength)
        _require_positive("ring_radius", self.ring_radius)

    def __call__(self, r: jax.Array) -> jax.Array:
        """Return V(r)."""
        return self.strength * (r**2 - self.ring_radius**2) ** 2

    def exact_levels(self, order: float, radius: float, num_levels: int) -> None:
        """Return None: no closed form."""


def _require_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise expected(f"{name} > 0", value, "choose a positive number")


def _require_finite(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise expected(f"a finite {name}", value, "choose another")
