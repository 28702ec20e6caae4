"""Geometry: real-space grids, and Bravais lattices with their neighbor shells."""

from physml.lattices.bravais import (
    BravaisLattice,
    Shell,
    chain,
    cubic,
    square,
    triangular,
)
from physml.lattices.grid import Grid, Line

__all__ = [
    "BravaisLattice",
    "Grid",
    "Line",
    "Shell",
    "chain",
    "cubic",
    "square",
    "triangular",
]
