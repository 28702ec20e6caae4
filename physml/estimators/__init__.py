"""Expectation values, their errors, and intervals that hold an eigenvalue."""

from physml.estimators.blocking import BlockingLevels, blocking_levels
from physml.estimators.chain_statistics import (
    ChainEstimate,
    autocorrelation,
    chain_estimate,
)
from physml.estimators.energy import EnergyEstimate, energy_estimate, rayleigh_quotient
from physml.estimators.intervals import kato_temple_interval, weinstein_interval

__all__ = [
    "BlockingLevels",
    "ChainEstimate",
    "EnergyEstimate",
    "autocorrelation",
    "blocking_levels",
    "chain_estimate",
    "energy_estimate",
    "kato_temple_interval",
    "rayleigh_quotient",
    "weinstein_interval",
]
