"""Wave functions on a grid: a network, a boundary factor, an exchange symmetry."""

from physml.wavefunctions.boundary import BOUNDARY_FACTORS, boundary_factor
from physml.wavefunctions.exchange import ExchangeSymmetric, exchange_symmetric
from physml.wavefunctions.grid_wave_function import GridWaveFunction, grid_wave_function
from physml.wavefunctions.multilayer_perceptron import (
    ACTIVATIONS,
    MultilayerPerceptron,
    NetworkFunction,
    as_function,
    network_function,
)

__all__ = [
    "ACTIVATIONS",
    "BOUNDARY_FACTORS",
    "ExchangeSymmetric",
    "GridWaveFunction",
    "MultilayerPerceptron",
    "NetworkFunction",
    "as_function",
    "boundary_factor",
    "exchange_symmetric",
    "grid_wave_function",
    "network_function",
]
