"""Green's functions of Hermitian operators: the physics face of the solvers."""

from physml.greens_functions.greens_function import GreensFunction, greens_function

__all__ = ["GreensFunction", "greens_function"]
