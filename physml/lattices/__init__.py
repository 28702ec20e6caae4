"""Geometry: real-space grids (and, as they are needed, Bravais lattices)."""

from physml.lattices.grid import Grid, Line

__all__ = ["Grid", "Line"]
