r"""All pairs of sites of a periodic lattice, sorted by their distance.

A weight for each distance makes a symmetric matrix over the sites,

.. math::
    W_{ij} = w_s \, M_{ij} , \quad s = 0 \text{ for } i = j, \quad
    s \text{ the shell of } j \text{ as seen from } i ,

and zero beyond the last weight. M counts the nearest images of j: on 6 x 6 sites the
site three steps to the right is also three steps to the left, and has two. So weights
belong to the infinite lattice, and mean the same on every size: a periodic pattern has
the same sums over shells on 6 x 6 and on 12 x 12 sites. (`physml.layers.smear` counts
each site of a lattice once.)

On small lattices a product with this matrix is faster than shifted sums
(`physml.lattices.neighbors`), as benchmarks/self_learning_monte_carlo.md has measured.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected
from physml.lattices.bravais import BravaisLattice, Displacement, Shell

# Squared distances of different shells differ by much more; only for rounding.
_SAME_DISTANCE = 1e-6


@dataclass(frozen=True)
class PairShells:
    """The shells of a lattice that some weights belong to, known by their distances.

    The number of a shell depends on the size of the lattice: shell 9 of a square
    lattice has r^2 = 18 on 6 x 6 sites and 16 on 8 x 8.

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
    def displacements(self) -> tuple[tuple[Displacement, ...], ...]:
        """The steps to the nearest images in each shell."""
        return _displacements(self)

    @property
    def numbers(self) -> np.ndarray:
        """The shell of each pair, shape (num_sites, num_sites).

        0 is a site with itself; the number of shells + 1 is all that is farther.
        """
        return _numbers_and_images(self)[0]

    @property
    def images(self) -> np.ndarray:
        """How many nearest images each pair has, 1 for a site with itself."""
        return _numbers_and_images(self)[1]

    def neighbors(self, num_shells: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the neighbors of each site, the nearest first, and their shells.

        Returns
        -------
        sites
            Shape (num_sites, number of neighbors); a site comes once for each image.
        numbers
            1 for the first shell, shape (number of neighbors,).
        """
        shells = self.displacements[:num_shells]
        steps = [step for shell in shells for step in shell]
        counts = [len(shell) for shell in shells]
        return _ends(self.lattice, steps), np.repeat(np.arange(len(shells)) + 1, counts)

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
        _displacements(moved)  # refuses distances that are missing
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


def pair_values(values: jax.Array, pairs: PairShells) -> jax.Array:
    """Return the value of the shell of each pair, zero beyond the last.

    Parameters
    ----------
    values
        Of a site with itself and of the nearest shells, shape (1 + shells,).
    pairs
        The shells; some may have no value.

    Returns
    -------
    jax.Array
        Symmetric, shape (num_sites, num_sites).

    Raises
    ------
    ValueError
        If there are more values than shells.
    """
    num_shells = len(pairs.squared_distances)
    if values.ndim != 1 or values.size > num_shells + 1:
        raise expected(
            f"at most {num_shells + 1} weights, of a site and of {num_shells} shells",
            f"shape {values.shape}",
            "leave out the weights of farther shells, or name more shells",
        )
    with_zero = jnp.append(values, jnp.zeros((), values.dtype))
    return with_zero[np.minimum(pairs.numbers, values.size)]


def pair_matrix(weights: jax.Array, pairs: PairShells) -> jax.Array:
    """Return W_ij, the weight of the shell of each pair times its nearest images.

    A field times this matrix is the sum over shells with these weights. Parameters,
    shape and errors as in `pair_values`.
    """
    return pair_values(weights, pairs) * jnp.asarray(pairs.images, weights.dtype)


@lru_cache(maxsize=256)
def _displacements(pairs: PairShells) -> tuple[tuple[Displacement, ...], ...]:
    lattice, distances = pairs.lattice, pairs.squared_distances
    shells = lattice.shells()
    found = []
    for wanted in distances:
        same = [s for s in shells if abs(s.squared_distance - wanted) < _SAME_DISTANCE]
        if not same:
            raise expected(
                f"a lattice with pairs at the squared distance {wanted:g}",
                f"shape {lattice.shape} without any",
                "take a larger lattice, or weights for fewer shells",
            )
        found.append(_nearest_images(lattice, same[0]))
    return tuple(found)


def _nearest_images(lattice: BravaisLattice, shell: Shell) -> tuple[Displacement, ...]:
    """Return all steps of the length of a shell that lead to its sites.

    A vector of length r has |m_i| <= r |b_i|, with the columns b_i of the inverse.
    """
    vectors = np.asarray(lattice.primitive_vectors, dtype=float)
    longest = np.linalg.norm(np.linalg.inv(vectors), axis=0)
    reach = np.floor(shell.squared_distance**0.5 * longest + _SAME_DISTANCE)
    axes = [np.arange(-r, r + 1, dtype=int) for r in reach]
    steps = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
    length = np.sum((steps @ vectors) ** 2, axis=1)
    is_near = np.abs(length - shell.squared_distance) < _SAME_DISTANCE
    of_shell = _ends(lattice, shell.displacements)[0]
    candidates = [tuple(map(int, step)) for step in steps[is_near]]
    ends = _ends(lattice, candidates)[0]
    return tuple(s for s, end in zip(candidates, ends, strict=True) if end in of_shell)


def _ends(lattice: BravaisLattice, steps: list | tuple) -> np.ndarray:
    """Return the sites where steps lead, shape (num_sites, number of steps)."""
    starts = np.indices(lattice.shape).reshape(lattice.dimension, -1, 1)
    ends = starts + np.array(steps).T[:, None]
    return np.ravel_multi_index(tuple(ends), lattice.shape, mode="wrap")


@lru_cache(maxsize=256)
def _numbers_and_images(pairs: PairShells) -> tuple[np.ndarray, np.ndarray]:
    every = np.arange(pairs.lattice.num_sites)[:, None]
    sites, shells = pairs.neighbors(len(pairs.squared_distances))
    numbers = np.full((every.size,) * 2, len(pairs.squared_distances) + 1)
    numbers[every, sites] = shells
    np.fill_diagonal(numbers, 0)
    images = np.eye(every.size, dtype=int)
    np.add.at(images, (every, sites), 1)
    for array in (numbers, images):
        array.setflags(write=False)
    return numbers, images
