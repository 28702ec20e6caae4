"""Impurities in a bath: the bath of discrete levels, and how it is found."""

from physml.dynamical_mean_field.bath import (
    Bath,
    matsubara_frequencies,
    semicircular_greens_function,
    weiss_field,
)
from physml.dynamical_mean_field.bath_fitting import BathFit, fit_bath

__all__ = [
    "Bath",
    "BathFit",
    "fit_bath",
    "matsubara_frequencies",
    "semicircular_greens_function",
    "weiss_field",
]
