"""Numerics that see only operators and vectors."""

from physml.solvers.combination import combination_energy, lowest_combination
from physml.solvers.diagonalize import Levels, lowest_levels
from physml.solvers.rayleigh_ritz import (
    RitzLevels,
    extended_estimates,
    extended_rounding,
    rayleigh_ritz,
)
from physml.solvers.reduced_shifted_krylov import (
    ShiftedElements,
    reduced_shifted_krylov,
)
from physml.solvers.subspace import overlaps, project_out

__all__ = [
    "Levels",
    "RitzLevels",
    "ShiftedElements",
    "combination_energy",
    "extended_estimates",
    "extended_rounding",
    "lowest_combination",
    "lowest_levels",
    "overlaps",
    "project_out",
    "rayleigh_ritz",
    "reduced_shifted_krylov",
]
