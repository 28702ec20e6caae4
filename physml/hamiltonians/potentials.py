r"""Potentials in one dimension, with their closed-form levels where they have them.

Units: hbar = m = 1. Each potential is called with the coordinate (an array) and knows a
box that holds its lowest states. `exact_levels(n)` returns the lowest n bound levels in
closed form, or None where there is no closed form; a well with fewer bound states
returns those that it has.

Sources: S. Fluegge, Practical Quantum Mechanics (Springer, 1971): problems 25 and 26
(square wells), 30 (harmonic), 39 (Poschl-Teller), 40 (linear), 67 (hydrogen), 70
(Morse).
"""

import math
from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import scipy.special

from physml.failures import expected
from physml.lattices.grid import Grid

RIM = 1e-12  # of a quarter period: how near to the rim of a well rounding lies


class Potential(Protocol):
    """What the solvers of this package and their experiments ask of a potential."""

    @abstractmethod
    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return V(x)."""

    @abstractmethod
    def exact_levels(self, num_levels: int) -> np.ndarray | None:
        """Return the lowest closed-form levels, ascending, or None."""

    @abstractmethod
    def box(self) -> tuple[float, float]:
        """Return the ends of a box for the four lowest states, or those bound."""


def _decay_constant(potential: Potential) -> float:
    r"""Return :math:`\kappa = \sqrt{-2E}` of the fourth level, or the highest bound."""
    levels = potential.exact_levels(4)
    if levels is None or not levels.size or not levels[-1] < 0:
        raise expected("a bound state", f"none in {potential}", "choose a deeper well")
    return math.sqrt(-2 * levels[-1])


def _require_positive(potential: object, *names: str) -> None:
    for name in names:
        value = getattr(potential, name)
        if not (math.isfinite(value) and value > 0):
            raise expected(
                f"{name} > 0 for {type(potential).__name__}",
                value,
                f"choose a positive {name}",
            )


@dataclass(frozen=True)
class Harmonic:
    r"""Harmonic oscillator, :math:`V = \omega^2 x^2/2`, :math:`E_n=\omega(n+1/2)`."""

    omega: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a frequency that does not bind."""
        _require_positive(self, "omega")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return V(x)."""
        return 0.5 * self.omega**2 * x**2

    def exact_levels(self, num_levels: int) -> np.ndarray:
        """Return omega (n + 1/2)."""
        return self.omega * (np.arange(num_levels) + 0.5)

    def box(self) -> tuple[float, float]:
        """Return eight oscillator lengths to either side."""
        half_width = 8.0 / math.sqrt(self.omega)
        return -half_width, half_width


@dataclass(frozen=True)
class DoubleWell:
    r"""Quartic double well, :math:`V = s (x^2 - a^2)^2`; no closed form.

    The two lowest levels of a = 2, s = 1 differ by 1.6e-5.
    """

    separation: float = 1.5  # a, half the distance of the two minima
    strength: float = 1.0  # s

    def __post_init__(self) -> None:
        """Refuse wells that are not two."""
        _require_positive(self, "separation", "strength")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return V(x)."""
        return self.strength * (x**2 - self.separation**2) ** 2

    def exact_levels(self, num_levels: int) -> None:
        """Return None: no closed form."""

    def box(self) -> tuple[float, float]:
        """Return the two minima and 3 lengths (2s)^(-1/6) beyond."""
        half_width = self.separation + 3.0 / (2 * self.strength) ** (1 / 6)
        return -half_width, half_width


@dataclass(frozen=True)
class PoschlTeller:
    r"""Poschl-Teller well, :math:`V = -\frac{l(l+1)}{2}\,\mathrm{sech}^2 x`.

    :math:`E_n = -(l - n)^2 / 2` for n < l.
    """

    depth: float = 5.0  # l, the number of bound states if it is an integer

    def __post_init__(self) -> None:
        """Refuse a well that does not bind."""
        _require_positive(self, "depth")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return V(x)."""
        return -0.5 * self.depth * (self.depth + 1) / np.cosh(x) ** 2

    def exact_levels(self, num_levels: int) -> np.ndarray:
        """Return the bound levels -(l - n)^2 / 2."""
        kappa = self.depth - np.arange(num_levels)
        return -0.5 * kappa[kappa > 0] ** 2

    def box(self) -> tuple[float, float]:
        """Return walls where the fourth state, or the highest bound, is exp(-18)."""
        half_width = min(max(18.0 / _decay_constant(self), 6.0), 40.0)
        return -half_width, half_width


@dataclass(frozen=True)
class Morse:
    r"""Morse oscillator, :math:`V = D [(1 - e^{-\alpha x})^2 - 1]`.

    :math:`E_n = -D + \omega (n + \frac12) - \frac{\alpha^2}{2} (n + \frac12)^2` with
    :math:`\omega = \alpha \sqrt{2 D}`, as long as :math:`\alpha(n+1/2)<\sqrt{2D}`.
    """

    dissociation: float = 20.0  # D
    steepness: float = 1.0  # alpha

    def __post_init__(self) -> None:
        """Refuse a well that does not bind."""
        _require_positive(self, "dissociation", "steepness")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return V(x)."""
        return self.dissociation * ((1 - np.exp(-self.steepness * x)) ** 2 - 1)

    def exact_levels(self, num_levels: int) -> np.ndarray:
        """Return the bound levels, -(sqrt(2D) - alpha (n + 1/2))^2 / 2."""
        n = np.arange(num_levels)
        kappa = math.sqrt(2 * self.dissociation) - self.steepness * (n + 0.5)
        return -0.5 * kappa[kappa > 0] ** 2

    def box(self) -> tuple[float, float]:
        """Return a steep wall at the left and exp(-16) of the fourth state."""
        kappa = math.sqrt(2 * self.dissociation) - 3.5 * self.steepness
        tail = 16.0 / max(kappa, 0.5)
        return -2.2 / self.steepness, tail + 1.5 / self.steepness


@dataclass(frozen=True)
class Linear:
    r"""Constant force towards a wall at x = 0, :math:`V = F x`.

    :math:`E_n = -(F^2/2)^{1/3} a_n` with the zeros :math:`a_n<0` of the Airy function.
    """

    force: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a force that does not bind."""
        _require_positive(self, "force")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return V(x)."""
        return self.force * x

    def exact_levels(self, num_levels: int) -> np.ndarray:
        """Return the Airy levels."""
        zeros = scipy.special.ai_zeros(num_levels)[0]
        airy, slope, *_ = scipy.special.airy(zeros)
        return -((self.force**2 / 2) ** (1 / 3)) * (zeros - airy / slope)

    def box(self) -> tuple[float, float]:
        """Return the wall and 14 lengths (2F)^(-1/3)."""
        return 0.0, 14.0 / (2 * self.force) ** (1 / 3)


@dataclass(frozen=True)
class FiniteWell:
    r"""Square well, :math:`V = -V_0` for :math:`|x| < a`, 0 outside, mean at the step.

    Even levels solve :math:`k \tan k a = \kappa`, odd ones
    :math:`-k \cot k a = \kappa`, with :math:`k^2 + \kappa^2 = 2 V_0`,
    :math:`E = -\kappa^2/2`.
    """

    depth: float = 20.0  # V_0
    half_width: float = 1.0  # a

    def __post_init__(self) -> None:
        """Refuse a well that does not bind."""
        _require_positive(self, "depth", "half_width")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return V(x)."""
        return -self.depth * np.heaviside(self.half_width - np.abs(x), 0.5)

    def exact_levels(self, num_levels: int) -> np.ndarray:
        """Solve the transcendental equations, one root in each quarter period.

        A level at the rim of the well, of energy zero to rounding, is not bound.
        """
        from scipy.optimize import brentq  # slow to import, needed only here

        phase = math.sqrt(2 * self.depth) * self.half_width  # k a at the rim
        num_bound = max(1, math.ceil(2 * phase / math.pi - RIM))
        levels = []
        for n in range(min(num_levels, num_bound)):
            # with tan(angle) = kappa / k: k a = n pi / 2 + angle, free of poles
            def mismatch(angle: float, n: int = n) -> float:
                return phase * math.cos(angle) - n * math.pi / 2 - angle

            angle = brentq(mismatch, 0.0, math.pi / 2, xtol=1e-300, rtol=1e-15)
            levels.append(-self.depth * math.sin(angle) ** 2)
        return np.array(levels)

    def box(self) -> tuple[float, float]:
        """Return walls that shift the fourth state, or the highest bound, by 1e-9.

        They are 2, 4, 8 or 16 half widths a off, so that the steps at -a and a lie on
        points where the number of points is one less than a large power of two.
        """
        beyond = 0.5 * math.log(1e9) / (_decay_constant(self) * self.half_width)
        ratio = 2.0 ** min(math.ceil(math.log2(1 + beyond)), 4)
        return -ratio * self.half_width, ratio * self.half_width


@dataclass(frozen=True)
class InfiniteWell:
    r"""Free particle between two walls, :math:`E_n = (n+1)^2 \pi^2 / (2 w^2)`."""

    width: float = 1.0

    def __post_init__(self) -> None:
        """Refuse an empty well."""
        _require_positive(self, "width")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return V(x) = 0."""
        return np.zeros_like(x)

    def exact_levels(self, num_levels: int) -> np.ndarray:
        """Return the levels of standing waves."""
        return 0.5 * (np.pi * np.arange(1, num_levels + 1) / self.width) ** 2

    def box(self) -> tuple[float, float]:
        """Return the two walls."""
        return -0.5 * self.width, 0.5 * self.width


@dataclass(frozen=True)
class RadialHydrogen:
    r"""Reduced radial wave function u = r R, :math:`V = -Z/r + l(l+1)/(2 r^2)`.

    :math:`E_n = -Z^2 / (2 (n + l + 1)^2)`, n = 0, 1, ...
    """

    angular_momentum: int = 0  # l
    charge: float = 1.0  # Z

    def __post_init__(self) -> None:
        """Refuse a repulsive nucleus and a fractional angular momentum."""
        _require_positive(self, "charge")
        if self.angular_momentum < 0 or self.angular_momentum % 1:
            raise expected(
                "an angular momentum of 0, 1, 2, ...",
                self.angular_momentum,
                "choose a whole number",
            )

    def __call__(self, r: np.ndarray) -> np.ndarray:
        """Return V(r), r > 0."""
        centrifugal = 0.5 * self.angular_momentum * (self.angular_momentum + 1)
        return -self.charge / r + centrifugal / r**2

    def exact_levels(self, num_levels: int) -> np.ndarray:
        """Return the Rydberg levels from n = l + 1 on."""
        principal = np.arange(num_levels) + self.angular_momentum + 1
        return -0.5 * (self.charge / principal) ** 2

    def box(self) -> tuple[float, float]:
        """Return the nucleus and exp(-17) of the fourth state or so."""
        principal = self.angular_momentum + 4
        return 0.0, (2 * principal + 15) * principal / self.charge


POTENTIALS: dict[str, type] = {
    "harmonic": Harmonic,
    "double-well": DoubleWell,
    "poschl-teller": PoschlTeller,
    "morse": Morse,
    "linear": Linear,
    "finite-well": FiniteWell,
    "infinite-well": InfiniteWell,
    "radial-hydrogen": RadialHydrogen,
}


def make_potential(name: str, **parameters: float) -> Potential:
    """Make a potential of this module by its name.

    Parameters
    ----------
    name
        A key of `POTENTIALS`, as in "double-well".
    parameters
        Fields of the potential that differ from their defaults.

    Raises
    ------
    ValueError
        If there is no such potential or it has no such parameter.
    """
    if name not in POTENTIALS:
        raise expected(
            f"one of the potentials {', '.join(POTENTIALS)}", repr(name), "choose one"
        )
    known = [field.name for field in fields(POTENTIALS[name])]
    for parameter in parameters:
        if parameter not in known:
            raise expected(
                f"a parameter of {name} ({', '.join(known)})",
                repr(parameter),
                "choose one of these",
            )
    return POTENTIALS[name](**parameters)


def gaussian_pair(strength: float, width: float) -> "PairForce":
    r"""Return :math:`\frac{V_0}{\sqrt{2\pi} s} e^{-r^2 / 2 s^2}` between particles.

    Parameters
    ----------
    strength
        V_0, the integral over r, an energy times a length; positive repels.
    width
        s, a length.
    """
    return PairForce(strength / (math.sqrt(2 * math.pi) * width), width)


@dataclass(frozen=True)
class PairForce:
    r"""Particles in a harmonic trap with a Gaussian pair force, an axis for each.

    .. math:: V = \frac{\omega^2}{2} \sum_i x_i^2
              + g \sum_{i<j} e^{-(x_i - x_j)^2 / (2 s^2)}
    """

    amplitude: float  # g
    width: float  # s
    omega: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a force without reach."""
        _require_positive(self, "width")

    def __call__(self, *x: np.ndarray) -> np.ndarray:
        """Return V(x_1, x_2, ...)."""
        trap = sum(0.5 * self.omega**2 * axis**2 for axis in x)
        for i, first in enumerate(x):
            for second in x[:i]:
                distance = (first - second) / self.width
                trap = trap + self.amplitude * np.exp(-0.5 * distance**2)
        return np.asarray(trap)


def default_grid(potential: Potential, num_points: int) -> Grid:
    """Return the Dirichlet grid of so many points on the potential's own box."""
    return Grid.line(*potential.box(), num_points)
