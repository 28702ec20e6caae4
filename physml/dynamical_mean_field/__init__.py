"""Impurities in a bath: the bath of discrete levels, and how it is found."""

from physml.dynamical_mean_field.bath import (
    Bath,
    matsubara_frequencies,
    semicircular_greens_function,
    weiss_field,
)

__all__ = [
    "Bath",
    "matsubara_frequencies",
    "semicircular_greens_function",
    "weiss_field",
]
