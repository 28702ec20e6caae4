"""Green's functions of Hermitian operators: the physics face of the solvers."""

from physml.greens_functions.local_density_of_states import (
    LocalDensityOfStates,
    local_density_of_states,
)
from physml.greens_functions.rounds import MapRecord, MapSnapshot

__all__ = [
    "LocalDensityOfStates",
    "MapRecord",
    "MapSnapshot",
    "local_density_of_states",
]
