"""Physics: Hamiltonians and energies."""

from physml.hamiltonians.heisenberg import heisenberg_energy

__all__ = ["heisenberg_energy"]
