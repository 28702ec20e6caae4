"""Expectation values, their errors, and intervals that hold an eigenvalue."""

from physml.estimators.energy import EnergyEstimate, energy_estimate, rayleigh_quotient
from physml.estimators.intervals import kato_temple_interval, weinstein_interval

__all__ = [
    "EnergyEstimate",
    "energy_estimate",
    "kato_temple_interval",
    "rayleigh_quotient",
    "weinstein_interval",
]
