r"""Factors that give a wave function its behavior at the ends of the box.

A wave function on the grid is the network's output times one of these, for each line:

* "gaussian": :math:`e^{-(u/w)^2/2}`, u the distance from the center, w a quarter of
  half the length (:math:`e^{-8}` at the ends), for states that have decayed in the box;
* "dirichlet": :math:`1 - (2u/L)^2`, zero at both ends, for walls that are felt;
* "none": 1. At a Dirichlet wall the jump of the wave function costs a kinetic energy of
  order 1/h, so the network learns to vanish there.

Periodic lines have the factor 1 always.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np

from physml.failures import expected
from physml.lattices.grid import Grid, Line

BoundaryFactor = Literal["gaussian", "dirichlet", "none"]


def _gaussian(line: Line) -> np.ndarray:
    return np.exp(-8.0 * _scaled(line) ** 2)


def _dirichlet(line: Line) -> np.ndarray:
    return 1.0 - _scaled(line) ** 2


def _none(line: Line) -> np.ndarray:
    return np.ones(line.num_points)


BOUNDARY_FACTORS: dict[str, Callable[[Line], np.ndarray]] = {
    "gaussian": _gaussian,
    "dirichlet": _dirichlet,
    "none": _none,
}


def boundary_factor(grid: Grid, name: BoundaryFactor) -> np.ndarray:
    """Return the product of the lines' factors, shape `grid.shape`.

    Raises
    ------
    ValueError
        If there is no factor of this name.
    """
    if name not in BOUNDARY_FACTORS:
        raise expected(
            f"one of the boundary factors {', '.join(BOUNDARY_FACTORS)}",
            repr(name),
            "choose one",
        )
    factors = [
        _none(line) if line.is_periodic else BOUNDARY_FACTORS[name](line)
        for line in grid.lines
    ]
    product = factors[0]
    for factor in factors[1:]:
        product = np.multiply.outer(product, factor)
    return product


def _scaled(line: Line) -> np.ndarray:
    """Return the coordinate as -1 to 1 over the box."""
    return (line.coordinates - line.center) / (0.5 * line.length)
