"""Expectation values, their errors, and intervals that hold an eigenvalue."""

from physml.estimators.energy import EnergyEstimate, energy_estimate, rayleigh_quotient
from physml.estimators.intervals import kato_temple_interval, weinstein_interval
from physml.estimators.magnetization import (
    has_two_sublattices,
    magnetization,
    staggered_magnetization,
)

__all__ = [
    "EnergyEstimate",
    "energy_estimate",
    "has_two_sublattices",
    "kato_temple_interval",
    "magnetization",
    "rayleigh_quotient",
    "staggered_magnetization",
    "weinstein_interval",
]
