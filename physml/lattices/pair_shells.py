r"""All pairs of sites of a periodic lattice, sorted by their distance.

A weight for each distance makes a symmetric matrix over the sites,

.. math::
    W_{ij} = w_s , \quad s = 0 \text{ for } i = j, \quad
    s \text{ the shell of } j \text{ as seen from } i ,

and zero beyond the last weight. On small lattices a product with this matrix is faster
than shifted sums (`physml.lattices.neighbors`), as
benchmarks/self_learning_monte_carlo.md has measured.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected
from physml.lattices.bravais import BravaisLattice, Shell

# Squared distances of different shells differ by much more; only for rounding.
_SAME_DISTANCE = 1e-6


@dataclass(frozen=True)
class PairShells:
    """The shells of a lattice that some weights belong to, known by their distances.

    A distance means the same on every size of a lattice; the number of its shell does
    not: shell 9 of a square lattice has r^2 = 18 on 6 x 6 sites and 16 on 8 x 8.

    Parameters
    ----------
    lattice
        Where the pairs are.
    squared_distances
        r^2 of shells 1, 2, ..., in units of the nearest-neighbor distance squared.

    Examples
    --------
    >>> from physml.lattices import square
    >>> pairs = pair_shells(square(6, 6), 9)
    >>> pairs.squared_distances[-1], pairs.on(square(8, 8)).squared_distances[-1]
    (18.0, 18.0)
    """

    lattice: BravaisLattice
    squared_distances: tuple[float, ...]

    @property
    def shells(self) -> tuple[Shell, ...]:
        """The shells with their displacements."""
        return _shells(self)

    @property
    def numbers(self) -> np.ndarray:
        """The shell of each pair, shape (num_sites, num_sites).

        0 is a site with itself; the number of shells + 1 is all that is farther.
        """
        return _numbers(self)

    def neighbors(self, num_shells: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the neighbors of each site, the nearest first, and their shells.

        Returns
        -------
        sites
            Shape (num_sites, number of neighbors).
        numbers
            1 for the first shell, shape (number of neighbors,).
        """
        order = np.argsort(self.numbers, axis=1, kind="stable")
        numbers = np.sort(self.numbers[0])
        is_near = (numbers > 0) & (numbers <= num_shells)
        return order[:, is_near], numbers[is_near]

    def on(self, lattice: BravaisLattice) -> Self:
        """Return the shells at the same distances on another lattice.

        Raises
        ------
        ValueError
            For a lattice of another kind, or one that has no pairs at some distance.
        """
        if lattice.primitive_vectors != self.lattice.primitive_vectors:
            raise expected(
                f"a lattice with the vectors {self.lattice.primitive_vectors}",
                f"{lattice.primitive_vectors}",
                "distances mean something else there; take the same kind of lattice",
            )
        moved = replace(self, lattice=lattice)
        _shells(moved)  # refuses distances that are missing
        return moved


def pair_shells(lattice: BravaisLattice, num_shells: int) -> PairShells:
    """Return the nearest shells of a lattice.

    Raises
    ------
    ValueError
        If the lattice has fewer shells.
    """
    shells = lattice.shells(num_shells)
    return PairShells(lattice, tuple(shell.squared_distance for shell in shells))


def pair_matrix(weights: jax.Array, pairs: PairShells) -> jax.Array:
    """Return W_ij, the weight of the shell of each pair.

    Parameters
    ----------
    weights
        Of a site with itself and of the nearest shells, shape (1 + shells,); shells
        without a weight have zero.
    pairs
        The shells.

    Returns
    -------
    jax.Array
        Symmetric, shape (num_sites, num_sites).

    Raises
    ------
    ValueError
        If there are more weights than shells.
    """
    num_shells = len(pairs.squared_distances)
    if weights.ndim != 1 or weights.size > num_shells + 1:
        raise expected(
            f"at most {num_shells + 1} weights, of a site and of {num_shells} shells",
            f"shape {weights.shape}",
            "leave out the weights of farther shells, or name more shells",
        )
    with_zero = jnp.append(weights, jnp.zeros((), weights.dtype))
    return with_zero[np.minimum(pairs.numbers, weights.size)]


@lru_cache(maxsize=256)
def _shells(pairs: PairShells) -> tuple[Shell, ...]:
    lattice, found, count = pairs.lattice, [], len(pairs.squared_distances)
    shells = lattice.shells(count) if count <= lattice.num_shells else ()
    if [s.squared_distance for s in shells] != list(pairs.squared_distances):
        shells = lattice.shells()
    for wanted in pairs.squared_distances:
        same = [s for s in shells if abs(s.squared_distance - wanted) < _SAME_DISTANCE]
        if not same:
            raise expected(
                f"a lattice with pairs at the squared distance {wanted:g}",
                f"shape {lattice.shape} without any",
                "take a larger lattice, or weights for fewer shells",
            )
        found.append(same[0])
    return tuple(found)


@lru_cache(maxsize=256)
def _numbers(pairs: PairShells) -> np.ndarray:
    shape = pairs.lattice.shape
    sites = np.indices(shape).reshape(len(shape), -1)  # (d, num_sites)
    numbers = np.full((sites.shape[1],) * 2, len(pairs.squared_distances) + 1)
    np.fill_diagonal(numbers, 0)
    for number, shell in enumerate(pairs.shells, start=1):
        for step in shell.displacements:
            ends = np.ravel_multi_index(sites + np.array(step)[:, None], shape, "wrap")
            numbers[np.arange(sites.shape[1]), ends] = number
    numbers.setflags(write=False)
    return numbers
