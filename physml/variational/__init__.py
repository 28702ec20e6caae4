"""Physics and training put together: the lowest levels of a Hamiltonian."""

from physml.variational.levels import (
    Level,
    LevelsProblem,
    LevelsSnapshot,
    find_levels,
)

__all__ = ["Level", "LevelsProblem", "LevelsSnapshot", "find_levels"]
