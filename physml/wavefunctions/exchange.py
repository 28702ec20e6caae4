r"""Exchange symmetry: wave functions of several identical particles.

.. math:: \Psi_\pm(x_1, \dots, x_N) = \sum_P (\pm 1)^P f(x_{P1}, \dots, x_{PN})

The particles move on the same line; particle i has axis i of the grid.
"""

from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any, Literal

import jax
import jax.numpy as jnp

from physml.failures import expected
from physml.lattices.grid import Grid
from physml.wavefunctions.multilayer_perceptron import NetworkFunction

Statistics = Literal["bosons", "fermions"]


@dataclass(frozen=True)
class ExchangeSymmetric:
    """A function summed over all permutations of the particles."""

    apply: NetworkFunction
    statistics: Statistics

    def __call__(self, parameters: Any, points: jax.Array) -> jax.Array:
        """Map points (num_points, num_particles) to values."""
        orders = list(permutations(range(points.shape[-1])))
        exchanged = jnp.stack([points[..., list(order)] for order in orders])
        values = self.apply(parameters, exchanged.reshape(-1, points.shape[-1]))
        signs = [
            _sign(order) if self.statistics == "fermions" else 1 for order in orders
        ]
        by_order = values.reshape(len(orders), points.shape[0], *values.shape[1:])
        return jnp.tensordot(jnp.array(signs, values.dtype), by_order, axes=1)


def exchange_symmetric(
    apply: NetworkFunction, grid: Grid, statistics: Statistics
) -> NetworkFunction:
    """Sum a function over all permutations of the particles, with signs for fermions.

    Parameters
    ----------
    apply
        f(parameters, points), points of shape (num_points, num_particles).
    grid
        The product of the same line for each particle.
    statistics
        "bosons" (even) or "fermions" (odd).

    Raises
    ------
    ValueError
        If the lines differ or the statistics are not known.
    """
    if len(set(grid.lines)) != 1:
        raise expected(
            "the same line for each particle",
            f"{len(set(grid.lines))} different lines",
            "build the grid with Grid.line(..., dimension=num_particles)",
        )
    if statistics not in ("bosons", "fermions"):
        raise expected('"bosons" or "fermions"', repr(statistics), "choose one")
    return ExchangeSymmetric(apply, statistics)


def _sign(order: tuple[int, ...]) -> int:
    """Return the sign of a permutation from its number of inversions."""
    return -1 if sum(a > b for a, b in combinations(order, 2)) % 2 else 1
