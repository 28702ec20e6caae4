"""Green's functions of Hermitian operators: the physics face of the solvers."""

from physml.greens_functions.greens_function import GreensFunction, greens_function
from physml.greens_functions.local_density_of_states import (
    LocalDensityOfStates,
    local_density_of_states,
)
from physml.greens_functions.rounds import MapRecord, MapSnapshot

__all__ = [
    "GreensFunction",
    "LocalDensityOfStates",
    "MapRecord",
    "MapSnapshot",
    "greens_function",
    "local_density_of_states",
]
