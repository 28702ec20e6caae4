r"""Crystals: a Bravais lattice with several sites in the unit cell.

Site s of the cell :math:`(m_1, \ldots, m_d)` sits at
:math:`\sum_i (m_i + \tau_{s,i}) \mathbf{a}_i`. Sites are numbered cell by cell as
`BravaisLattice.positions` has it, the sites of a cell one after the other. Lengths are
in units of the nearest-neighbor distance.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from physml.failures import expected
from physml.lattices.bravais import BravaisLattice

# Only for rounding: sites that are nearer, in primitive vectors, are one.
_SAME_PLACE = 1e-6


@dataclass(frozen=True)
class Crystal:
    r"""A Bravais lattice and the sites of its cell.

    Parameters
    ----------
    bravais
        The lattice of the cells.
    basis
        The sites :math:`\tau_s` of a cell in units of the primitive vectors.

    Raises
    ------
    ValueError
        For a cell without sites, sites of another dimension than the lattice, or two
        sites in one place.

    Examples
    --------
    >>> lattice = honeycomb(3, 4)
    >>> lattice.num_sites, lattice.positions().shape
    (24, (3, 4, 2, 2))
    """

    bravais: BravaisLattice
    basis: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        lengths = {len(site) for site in self.basis}
        if lengths != {self.bravais.dimension}:
            raise expected(
                f"sites of {self.bravais.dimension} coordinates, at least one",
                self.basis,
                "give each site of the cell in units of the primitive vectors",
            )
        places = np.round(np.asarray(self.basis) / _SAME_PLACE) % (1 / _SAME_PLACE)
        if len(np.unique(places, axis=0)) < len(self.basis):
            raise expected(
                "sites in different places of the cell", self.basis, "give each once"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of cells along each primitive vector."""
        return self.bravais.shape

    @property
    def dimension(self) -> int:
        """Number of primitive vectors."""
        return self.bravais.dimension

    @property
    def sites_per_cell(self) -> int:
        """Number of sites in the cell."""
        return len(self.basis)

    @property
    def num_sites(self) -> int:
        """Number of sites in all."""
        return self.bravais.num_sites * self.sites_per_cell

    def positions(self) -> np.ndarray:
        """Return the positions, shape (n_1, ..., n_d, sites_per_cell, dimension)."""
        vectors = np.asarray(self.bravais.primitive_vectors, dtype=float)
        within = np.asarray(self.basis, dtype=float) @ vectors
        return self.bravais.positions()[..., None, :] + within


Lattice = BravaisLattice | Crystal


def as_crystal(lattice: Lattice) -> Crystal:
    """Return a Bravais lattice as the crystal with one site in the cell."""
    if isinstance(lattice, Crystal):
        return lattice
    return Crystal(lattice, ((0.0,) * lattice.dimension,))


def honeycomb(num_x: int, num_y: int) -> Crystal:
    """Return a honeycomb of num_x times num_y cells, two sites in each."""
    vectors = ((sqrt(3), 0.0), (sqrt(3) / 2, 1.5))
    cells = BravaisLattice((num_x, num_y), vectors)
    return Crystal(cells, ((0.0, 0.0), (1 / 3, 1 / 3)))
