r"""Periodic Bravais lattices and their shells of neighbors.

Site :math:`(m_1, \ldots, m_d)` sits at :math:`\sum_i m_i \mathbf{a}_i`, with
:math:`m_i` counted modulo :math:`n_i`; lengths are in units of the nearest-neighbor
distance. Shell s holds the sites at the s-th smallest distance from a site, s = 1 the
nearest neighbors. On a periodic lattice a distance is the one to the nearest image,
each site is in one shell once, and so there are finitely many shells: `num_shells`.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import prod, sqrt

import numpy as np

from physml.failures import expected, expected_type

Displacement = tuple[int, ...]

# Squared distances of different shells differ by at least 1 in these lattices; this
# only groups numbers that rounding has made different.
_SAME_DISTANCE = 1e-6


@dataclass(frozen=True)
class Shell:
    """The neighbors at one distance.

    Parameters
    ----------
    squared_distance
        r^2 in units of the nearest-neighbor distance squared.
    displacements
        The neighbors as integer steps along the primitive vectors; with every
        displacement its negative (as a site) is there too.
    """

    squared_distance: float
    displacements: tuple[Displacement, ...]


@dataclass(frozen=True)
class BravaisLattice:
    r"""A periodic lattice with one site in the unit cell.

    Parameters
    ----------
    shape
        Number of sites along each primitive vector.
    primitive_vectors
        The vectors :math:`\mathbf{a}_i`, one row each, linearly independent.

    Raises
    ------
    ValueError
        For an empty lattice, or vectors that do not fit or are linearly dependent.
    TypeError
        For numbers of sites that are not integers.

    Examples
    --------
    >>> lattice = square(6, 6)
    >>> [shell.squared_distance for shell in lattice.shells(3)]
    [1.0, 2.0, 4.0]
    >>> lattice.num_shells
    9
    """

    shape: tuple[int, ...]
    primitive_vectors: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        for number in self.shape:
            if isinstance(number, bool) or not isinstance(number, int | np.integer):
                raise expected_type(
                    "integer numbers of sites", repr(number), "pass whole numbers"
                )
        if not self.shape or min(self.shape) < 1:
            raise expected(
                "at least one site along each direction",
                f"shape {self.shape}",
                "pass positive numbers of sites",
            )
        vectors = np.asarray(self.primitive_vectors, dtype=float)
        dimension = len(self.shape)
        if vectors.shape != (dimension, dimension):
            raise expected(
                f"{dimension} primitive vectors of {dimension} components",
                f"an array of shape {vectors.shape}",
                "pass one vector for each direction of the shape",
            )
        volume = abs(np.linalg.det(vectors))
        if volume <= 1e-9 * np.prod(np.linalg.norm(vectors, axis=1)):
            raise expected(
                "linearly independent primitive vectors",
                self.primitive_vectors,
                "pass vectors that span a cell",
            )

    @property
    def dimension(self) -> int:
        """Number of primitive vectors."""
        return len(self.shape)

    @property
    def num_sites(self) -> int:
        """Number of sites."""
        return prod(self.shape)

    @property
    def num_shells(self) -> int:
        """Number of shells that the periodic lattice can tell apart."""
        return len(_shells(self, None))

    def shells(self, count: int | None = None) -> tuple[Shell, ...]:
        """Return the nearest shells, in order of distance.

        Parameters
        ----------
        count
            How many; None for all that the lattice can tell apart.

        Raises
        ------
        ValueError
            If the lattice has fewer shells.
        """
        is_negative = count is not None and count < 0
        shells = _shells(self, None if is_negative else count)
        if is_negative or (count is not None and count > len(shells)):
            raise expected(
                f"at most {len(shells)} shells on a lattice of shape {self.shape}",
                count,
                "ask for fewer shells, or take a larger lattice",
            )
        return shells if count is None else shells[:count]

    def positions(self) -> np.ndarray:
        """Return the positions of the sites, shape (n_1, ..., n_d, dimension)."""
        steps = np.moveaxis(np.indices(self.shape), 0, -1)  # (n_1, ..., n_d, d)
        return steps @ np.asarray(self.primitive_vectors, dtype=float)


def chain(num_sites: int) -> BravaisLattice:
    """Return a ring of sites; shell l holds the sites l steps away."""
    return BravaisLattice((num_sites,), ((1.0,),))


def square(num_x: int, num_y: int) -> BravaisLattice:
    """Return a periodic square lattice; r^2 = 1, 2, 4, 5, 8, 9, 10, ..."""
    return BravaisLattice((num_x, num_y), ((1.0, 0.0), (0.0, 1.0)))


def triangular(num_x: int, num_y: int) -> BravaisLattice:
    """Return a periodic triangular lattice, 60 degrees; r^2 = 1, 3, 4, 7, 9, ..."""
    return BravaisLattice((num_x, num_y), ((1.0, 0.0), (0.5, sqrt(3) / 2)))


def cubic(num_x: int, num_y: int, num_z: int) -> BravaisLattice:
    """Return a periodic simple cubic lattice; r^2 = 1, 2, 3, 4, 5, 6, 8, ..."""
    vectors = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    return BravaisLattice((num_x, num_y, num_z), vectors)


@lru_cache(maxsize=256)
def _shells(lattice: BravaisLattice, count: int | None) -> tuple[Shell, ...]:
    """Search boxes of steps that grow until enough shells are complete."""
    reach = 1
    while True:
        steps, squared, complete = _nearest_images(lattice, reach)
        shells = _grouped(steps[squared < complete], squared[squared < complete])
        found = 1 + sum(len(shell.displacements) for shell in shells)
        if found == lattice.num_sites or (count is not None and len(shells) >= count):
            return tuple(shells)
        reach *= 2


def _nearest_images(
    lattice: BravaisLattice, reach: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return each site's shortest step in the box |m_i| <= reach, without the origin.

    A vector of length r has |m_i| <= r |b_i|, with the columns b_i of the inverse, so
    all vectors shorter than (reach + 1) / max |b_i| lie in the box.
    """
    vectors = np.asarray(lattice.primitive_vectors, dtype=float)
    longest = np.linalg.norm(np.linalg.inv(vectors), axis=0).max()
    axis = np.arange(-reach, reach + 1)
    grid = np.meshgrid(*[axis] * lattice.dimension, indexing="ij")
    steps = np.stack(grid, axis=-1).reshape(-1, lattice.dimension)
    squared = np.sum((steps @ vectors) ** 2, axis=1)
    # Ties go to the lexically largest step, so that +l is preferred to -l.
    rounded = np.round(squared / _SAME_DISTANCE)
    order = np.lexsort((*(-steps.T[::-1]), rounded))
    site = np.ravel_multi_index(tuple((steps[order] % lattice.shape).T), lattice.shape)
    _, first = np.unique(site, return_index=True)
    kept = order[np.sort(first)][1:]  # the first is the site itself
    return steps[kept], squared[kept], ((reach + 1) / longest) ** 2 - _SAME_DISTANCE


def _grouped(steps: np.ndarray, squared: np.ndarray) -> list[Shell]:
    """Collect steps, sorted by distance, into shells."""
    shells: list[Shell] = []
    starts = np.flatnonzero(np.diff(squared, prepend=-1.0) > _SAME_DISTANCE)
    stops = [*starts[1:], len(squared)][: len(starts)]
    for start, stop in zip(starts, stops, strict=True):
        displacements = tuple(tuple(map(int, step)) for step in steps[start:stop])
        shells.append(Shell(float(round(squared[start], 9)), displacements))
    return shells
