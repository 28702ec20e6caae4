"""physml: differentiable physics on JAX."""

from physml.hamiltonians.schrodinger import schrodinger_hamiltonian
from physml.lattices.grid import Grid, Line
from physml.precision import enable_x64
from physml.variational.levels import Level, LevelsProblem, find_levels
from physml.wavefunctions.grid_wave_function import grid_wave_function
from physml.wavefunctions.multilayer_perceptron import (
    MultilayerPerceptron,
    as_function,
    network_function,
)

__version__ = "0.1.0"

__all__ = [
    "Grid",
    "Level",
    "LevelsProblem",
    "Line",
    "MultilayerPerceptron",
    "__version__",
    "as_function",
    "enable_x64",
    "find_levels",
    "grid_wave_function",
    "network_function",
    "schrodinger_hamiltonian",
]
