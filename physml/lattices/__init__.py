"""Geometry: Bravais lattices with their neighbor shells."""

from physml.lattices.bravais import (
    BravaisLattice,
    Shell,
    chain,
    cubic,
    square,
    triangular,
)

__all__ = ["BravaisLattice", "Shell", "chain", "cubic", "square", "triangular"]
