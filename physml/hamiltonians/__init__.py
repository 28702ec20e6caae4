"""Physics: potentials and the operators made of them. Units: hbar = m = 1."""

from physml.hamiltonians.heisenberg import heisenberg_energy
from physml.hamiltonians.potentials import (
    POTENTIALS,
    DoubleWell,
    FiniteWell,
    Harmonic,
    InfiniteWell,
    Linear,
    Morse,
    PairForce,
    PoschlTeller,
    Potential,
    RadialHydrogen,
    default_grid,
    gaussian_pair,
    make_potential,
)
from physml.hamiltonians.schrodinger import (
    SchrodingerHamiltonian,
    schrodinger_hamiltonian,
)

__all__ = [
    "POTENTIALS",
    "DoubleWell",
    "FiniteWell",
    "Harmonic",
    "InfiniteWell",
    "Linear",
    "Morse",
    "PairForce",
    "PoschlTeller",
    "Potential",
    "RadialHydrogen",
    "SchrodingerHamiltonian",
    "default_grid",
    "gaussian_pair",
    "heisenberg_energy",
    "make_potential",
    "schrodinger_hamiltonian",
]
