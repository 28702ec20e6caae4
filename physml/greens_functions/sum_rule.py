r"""The sum rule of a local density of states, tails and bound states included.

Over all energies each site has one state. What lies outside of :math:`[E_1, E_2]`
follows from G on two vertical lines, since G is analytic above the real axis and falls
like 1/z:

.. math:: 1 - \int_{E_1}^{E_2} \rho_i(E) \, dE = 1 + \frac{1}{\pi} \int_\eta^\infty
          \operatorname{Re} \big[ G_{ii}(E_1 + iy) - G_{ii}(E_2 + iy) \big] \, dy .

This is exact wherever the levels are: for one level at lambda between the two it is
:math:`[\arctan \eta/(E_2 - \lambda) + \arctan \eta/(\lambda - E_1)] / \pi`.

The lines are mapped by :math:`y = \sqrt{\eta d} \tan\theta`, d the largest distance of
a level from either energy, and integrated by Gauss's rule of as many points as the
poles of the integrand, :math:`y = \pm i(E - \lambda)`, ask for.
"""

import math
from dataclasses import dataclass

import numpy as np

from physml.failures import expected

QUADRATURE_ERROR = 1e-11
# Gregory's end corrections: errors like the fourth power of the spacing
END_WEIGHTS = np.array([9.0, 28.0, 23.0]) / 24
FEWEST_ENERGIES = 2 * len(END_WEIGHTS)


@dataclass(frozen=True)
class TailQuadrature:
    """Where G is needed for the tails, and with which weights."""

    z: np.ndarray  # complex, (num_points,)
    weights: np.ndarray  # of Re G, (num_points,)

    def tails(self, green: np.ndarray) -> np.ndarray:
        """Return what lies outside of the interval, shape (num_sites,).

        Parameters
        ----------
        green
            G_ii at the points z, shape (num_points, num_sites).
        """
        return 1 + self.weights @ np.real(green)


def tail_quadrature(
    lowest: float, highest: float, broadening: float, reach: float
) -> TailQuadrature:
    """Choose the points for what lies outside of an interval of energies.

    Parameters
    ----------
    lowest, highest
        The interval.
    broadening
        eta, in units of energy.
    reach
        d, the largest distance of a level from one of the two energies.
    """
    scale = math.sqrt(broadening * max(reach, broadening))
    start = math.atan(broadening / scale)
    half = (math.pi / 2 - start) / 2
    # how far the nearest poles are from both ends, in units of half the interval
    near, far = 1 + start / half, 1 + 1j * math.atanh(scale / (scale + reach)) / half
    convergence = min(abs(w + np.sqrt(w * w - 1)) for w in (near, far))
    num_points = math.ceil(-math.log(QUADRATURE_ERROR) / (2 * math.log(convergence)))
    points, weights = np.polynomial.legendre.leggauss(num_points)
    angle = start + half * (1 + points)
    height, weights = scale * np.tan(angle), half * weights * scale / np.cos(angle) ** 2
    z = np.concatenate([lowest + 1j * height, highest + 1j * height])
    return TailQuadrature(z, np.concatenate([weights, -weights]) / math.pi)


def integrated_density(energies: np.ndarray, values: np.ndarray) -> np.ndarray:
    r"""Return the integral of a map over its energies, shape (num_sites,).

    The trapezoidal rule with end corrections. A level of width eta well inside errs by
    at most `resolution_error` of its weight.

    Parameters
    ----------
    energies
        Evenly spaced, shape (num_energies,).
    values
        Shape (num_energies, num_sites).

    Raises
    ------
    ValueError
        For too few energies.
    """
    if len(energies) < FEWEST_ENERGIES:
        raise expected(
            f"{FEWEST_ENERGIES} energies or more", len(energies), "add some to the map"
        )
    weights = np.ones(len(energies))
    weights[: len(END_WEIGHTS)] = END_WEIGHTS
    weights[-len(END_WEIGHTS) :] = END_WEIGHTS[::-1]
    return (energies[1] - energies[0]) * weights @ values


def resolution_error(spacing: float, broadening: float) -> float:
    r"""Return the largest relative error of a sum over evenly spaced energies.

    By Poisson's formula a Lorentzian of half width eta, summed at the distance h, has
    the error :math:`2 \sum_{k>0} e^{-2\pi k\eta/h} \cos(2\pi k\lambda/h)`.
    """
    decay = math.exp(-2 * math.pi * broadening / spacing)
    return 2 * decay / (1 - decay)
