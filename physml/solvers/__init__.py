"""Numerics that see only operators and vectors."""

from physml.solvers.block_tridiagonal import (
    BlockTridiagonal,
    SliceOrder,
    block_tridiagonal,
    slice_order,
)
from physml.solvers.block_tridiagonal_solution import recursive_elements
from physml.solvers.chebyshev_resolvent import chebyshev_elements
from physml.solvers.combination import combination_energy, lowest_combination
from physml.solvers.conjugate_gradient import conjugate_gradient
from physml.solvers.diagonal_resolvent import DiagonalResolvent
from physml.solvers.diagonalize import Levels, lowest_levels
from physml.solvers.eigenpairs import Eigenpairs, eigenpairs
from physml.solvers.eigenvalues import eigenvalues
from physml.solvers.eigenvector_sum import dense_diagonal_resolvent, dense_elements
from physml.solvers.fermi_poles import FermiPoles, fermi_poles
from physml.solvers.kernel_polynomial import (
    chebyshev_density,
    chebyshev_moments,
    jackson_kernel,
    lorentz_kernel,
)
from physml.solvers.linear_solution import LinearSolution
from physml.solvers.linear_systems import solve_linear_systems
from physml.solvers.lowest_state import LowestState, lowest_state
from physml.solvers.minimal_residual import minimal_residual
from physml.solvers.rayleigh_ritz import (
    RitzLevels,
    extended_estimates,
    extended_rounding,
    rayleigh_ritz,
)
from physml.solvers.reduced_shifted_krylov import reduced_shifted_krylov
from physml.solvers.selected_inversion import recursive_diagonal_resolvent
from physml.solvers.shifted_elements import ShiftedElements
from physml.solvers.spectral_interval import SpectralInterval, spectral_interval
from physml.solvers.subspace import overlaps, project_out

__all__ = [
    "BlockTridiagonal",
    "DiagonalResolvent",
    "Eigenpairs",
    "FermiPoles",
    "Levels",
    "LinearSolution",
    "LowestState",
    "RitzLevels",
    "ShiftedElements",
    "SliceOrder",
    "SpectralInterval",
    "block_tridiagonal",
    "chebyshev_density",
    "chebyshev_elements",
    "chebyshev_moments",
    "combination_energy",
    "conjugate_gradient",
    "dense_diagonal_resolvent",
    "dense_elements",
    "eigenpairs",
    "eigenvalues",
    "extended_estimates",
    "extended_rounding",
    "fermi_poles",
    "jackson_kernel",
    "lorentz_kernel",
    "lowest_combination",
    "lowest_levels",
    "lowest_state",
    "minimal_residual",
    "overlaps",
    "project_out",
    "rayleigh_ritz",
    "recursive_diagonal_resolvent",
    "recursive_elements",
    "reduced_shifted_krylov",
    "slice_order",
    "solve_linear_systems",
    "spectral_interval",
]
