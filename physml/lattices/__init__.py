"""Geometry: real-space grids, and lattices with their neighbor shells and bonds."""

from physml.lattices.bonds import Bond, Ends, bonds_of_shell
from physml.lattices.bravais import (
    BravaisLattice,
    Shell,
    chain,
    cubic,
    square,
    triangular,
)
from physml.lattices.crystal import Crystal, Lattice, honeycomb
from physml.lattices.grid import Grid, Line
from physml.lattices.pair_shells import (
    PairShells,
    pair_matrix,
    pair_shells,
    pair_values,
)

__all__ = [
    "Bond",
    "BravaisLattice",
    "Crystal",
    "Ends",
    "Grid",
    "Lattice",
    "Line",
    "PairShells",
    "Shell",
    "bonds_of_shell",
    "chain",
    "cubic",
    "honeycomb",
    "pair_matrix",
    "pair_shells",
    "pair_values",
    "square",
    "triangular",
]
