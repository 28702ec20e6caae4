"""Markov chains of classical spins. They know log densities, no physics."""

from physml.samplers.local_density import (
    LocalDensity,
    LogDensity,
    WholeDensity,
    with_spin,
)

__all__ = ["LocalDensity", "LogDensity", "WholeDensity", "with_spin"]
