"""Impurities in a bath, how a bath is found, and lattices that are one: DMFT."""

from physml.dynamical_mean_field.bath import (
    Bath,
    matsubara_frequencies,
    semicircular_greens_function,
    weiss_field,
)
from physml.dynamical_mean_field.bath_assessment import BathFit
from physml.dynamical_mean_field.bath_fitting import fit_bath
from physml.dynamical_mean_field.impurity import (
    AndersonImpurity,
    half_filled_impurity,
)
from physml.dynamical_mean_field.impurity_solver import (
    ImpuritySolution,
    solve_impurity,
)
from physml.dynamical_mean_field.self_consistency import (
    BetheLattice,
    MeanField,
    insulating_start,
    iterate,
    metallic_start,
    spectral_function,
)

__all__ = [
    "AndersonImpurity",
    "Bath",
    "BathFit",
    "BetheLattice",
    "ImpuritySolution",
    "MeanField",
    "fit_bath",
    "half_filled_impurity",
    "insulating_start",
    "iterate",
    "matsubara_frequencies",
    "metallic_start",
    "semicircular_greens_function",
    "solve_impurity",
    "spectral_function",
    "weiss_field",
]
