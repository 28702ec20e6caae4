r"""Bonds between the sites of a crystal, one for each pair of neighbors.

A bond leads from site s of a cell to site s' of the cell :math:`\mathbf{D}` further on,
along the vector :math:`\sum_i (D_i + \tau_{s',i} - \tau_{s,i}) \mathbf{a}_i`, and there
is one such bond for every cell. Bonds are those of the infinite lattice: along a
periodic direction of one or two cells several may join the same two sites, as in
Bloch's sum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from physml.failures import expected
from physml.lattices.crystal import Crystal, Lattice, as_crystal

Ends = Literal["open", "periodic"]

# Squared distances of different shells differ by much more; this only groups numbers
# that rounding has made different.
_SAME_DISTANCE = 1e-6


@dataclass(frozen=True, order=True)
class Bond:
    """The bonds of one kind, one for every cell.

    Parameters
    ----------
    displacement
        Of the cell of the end from that of the start, in primitive vectors.
    start, end
        The numbers of the two sites in their cells.
    """

    displacement: tuple[int, ...]
    start: int = 0
    end: int = 0

    def reversed(self) -> "Bond":
        """Return the same bond from its end to its start."""
        back = tuple(-step for step in self.displacement)
        return Bond(back, self.end, self.start)


def bonds_of_shell(lattice: Lattice, shell: int = 1) -> tuple[Bond, ...]:
    """Return the bonds of one length, each once.

    Parameters
    ----------
    lattice
        A Bravais lattice or a crystal.
    shell
        1 for nearest neighbors, 2 for those at the next distance, and so on.

    Raises
    ------
    ValueError
        If the shell is not a positive number.

    Examples
    --------
    >>> from physml.lattices import square
    >>> [bond.displacement for bond in bonds_of_shell(square(4, 4))]
    [(0, 1), (1, 0)]
    """
    if shell < 1:
        raise expected("a shell from 1 on", shell, "pass 1 for nearest neighbors")
    crystal, reach = as_crystal(lattice), 1
    while True:
        bonds, squared, complete = _bonds_within(crystal, reach)
        lengths = np.unique(np.round(squared[squared < complete] / _SAME_DISTANCE))
        if len(lengths) > shell:  # lengths[0] is zero, a site with itself
            break
        reach *= 2
    chosen = np.abs(squared / _SAME_DISTANCE - lengths[shell]) <= 1
    both_ways = [bonds[k] for k in np.flatnonzero(chosen)]
    return tuple(sorted(bond for bond in both_ways if _is_kept(bond)))


def is_periodic(ends: Ends | Sequence[Ends], lattice: Lattice) -> tuple[bool, ...]:
    """Return for each direction of a lattice whether its ends are joined.

    Raises
    ------
    ValueError
        For other words than "open" and "periodic", or too few or too many of them.
    """
    each = (ends,) * lattice.dimension if isinstance(ends, str) else tuple(ends)
    known = all(end in ("open", "periodic") for end in each)
    if len(each) != lattice.dimension or not known:
        raise expected(
            f'the boundary "open" or "periodic" for each of {lattice.dimension} '
            "directions",
            repr(ends),
            "pass one word for all directions, or a tuple of one for each",
        )
    return tuple(end == "periodic" for end in each)


def _is_kept(bond: Bond) -> bool:
    """Choose one of a bond and its reverse: from the first site of a cell outwards."""
    forward = (bond.end - bond.start, bond.displacement)
    return forward > (-forward[0], tuple(-step for step in bond.displacement))


def _bonds_within(crystal: Crystal, reach: int) -> tuple[list[Bond], np.ndarray, float]:
    """Return all bonds to cells with |D_i| <= reach, their lengths squared, a bound.

    A vector of length r between cells has |D_i| <= r |b_i| + 1, with the columns b_i of
    the inverse, so all bonds that are shorter than reach / max |b_i| are there.
    """
    vectors = np.asarray(crystal.bravais.primitive_vectors, dtype=float)
    steps = np.stack(
        np.meshgrid(*[np.arange(-reach, reach + 1)] * crystal.dimension, indexing="ij"),
        axis=-1,
    ).reshape(-1, crystal.dimension)
    basis = np.asarray(crystal.basis)
    start, end = np.indices((len(basis),) * 2).reshape(2, -1)
    along = (steps[:, None] + (basis[end] - basis[start])) @ vectors
    bonds = [
        Bond(tuple(map(int, step)), int(s), int(e))
        for step in steps
        for s, e in zip(start, end, strict=True)
    ]
    longest = np.linalg.norm(np.linalg.inv(vectors), axis=0).max()
    complete = (reach / longest) ** 2 + _SAME_DISTANCE
    return bonds, np.sum(along**2, axis=-1).ravel(), complete
