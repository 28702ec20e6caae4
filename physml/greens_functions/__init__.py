"""Green's functions of Hermitian operators: the physics face of the solvers."""

from physml.greens_functions.density_of_states import (
    DensityOfStates,
    density_of_states,
)
from physml.greens_functions.greens_function import GreensFunction, greens_function
from physml.greens_functions.local_density_of_states import (
    LocalDensityOfStates,
    local_density_of_states,
)
from physml.greens_functions.rounds import MapRecord, MapSnapshot

__all__ = [
    "DensityOfStates",
    "GreensFunction",
    "LocalDensityOfStates",
    "MapRecord",
    "MapSnapshot",
    "density_of_states",
    "greens_function",
    "local_density_of_states",
]
