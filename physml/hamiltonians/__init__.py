"""Physics: potentials and the operators made of them. Units: hbar = m = 1."""

from physml.hamiltonians.bogoliubov_de_gennes import (
    BogoliubovDeGennes,
    Vortex,
    bogoliubov_de_gennes,
)
from physml.hamiltonians.disk_potentials import (
    DiskPotential,
    FreeDisk,
    HarmonicDisk,
    QuarticDisk,
    RingDisk,
)
from physml.hamiltonians.double_exchange import DoubleExchange
from physml.hamiltonians.double_exchange_updates import double_exchange_density
from physml.hamiltonians.effective_spins import (
    EquivariantSpinModel,
    LinearSpinModel,
    bond_sums,
    fit_linear,
    random_equivariant_model,
)
from physml.hamiltonians.heisenberg import heisenberg_energy, random_spins
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
from physml.hamiltonians.quantum_disk import (
    DiskStates,
    QuantumDisk,
    quantum_disk,
)
from physml.hamiltonians.schrodinger import (
    SchrodingerHamiltonian,
    schrodinger_hamiltonian,
)
from physml.hamiltonians.smeared_heisenberg import (
    SmearedHeisenberg,
    random_smeared_heisenberg,
)
from physml.hamiltonians.tight_binding import (
    disorder_potential,
    impurity_chain,
    impurity_potential,
    tight_binding,
)

__all__ = [
    "POTENTIALS",
    "BogoliubovDeGennes",
    "DiskPotential",
    "DiskStates",
    "DoubleExchange",
    "DoubleWell",
    "EquivariantSpinModel",
    "FiniteWell",
    "FreeDisk",
    "Harmonic",
    "HarmonicDisk",
    "InfiniteWell",
    "Linear",
    "LinearSpinModel",
    "Morse",
    "PairForce",
    "PoschlTeller",
    "Potential",
    "QuantumDisk",
    "QuarticDisk",
    "RadialHydrogen",
    "RingDisk",
    "SchrodingerHamiltonian",
    "SmearedHeisenberg",
    "Vortex",
    "bogoliubov_de_gennes",
    "bond_sums",
    "default_grid",
    "disorder_potential",
    "double_exchange_density",
    "fit_linear",
    "gaussian_pair",
    "heisenberg_energy",
    "impurity_chain",
    "impurity_potential",
    "make_potential",
    "quantum_disk",
    "random_equivariant_model",
    "random_smeared_heisenberg",
    "random_spins",
    "schrodinger_hamiltonian",
    "tight_binding",
]
