r"""Energy, residual and state of a network on a grid, divided over ranks or not.

The grid is divided along its first axis. A rank evaluates the network at its own
points; the Hamiltonian gets the points beside them from the neighbors, and inner
products are summed over the ranks.
"""

from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from physml.estimators.energy import energy_estimate, norm, rayleigh_quotient
from physml.hamiltonians.schrodinger import SchrodingerHamiltonian
from physml.operators.laplacian import Laplacian
from physml.parallel import SERIAL, Communicator, Divided
from physml.parallel.communicator import Program
from physml.pytrees import register_dataclass
from physml.solvers.combination import combination_energy, lowest_combination
from physml.solvers.subspace import project_out
from physml.wavefunctions.grid_wave_function import GridWaveFunction
from physml.wavefunctions.multilayer_perceptron import NetworkFunction


@partial(register_dataclass, static=("communicator",))
@dataclass(frozen=True)
class System:
    """What the energy of parameters depends on: the whole, or the block of a rank.

    Parameters
    ----------
    hamiltonian, wave_function
        On the grid, or on a block of it.
    lower
        Orthonormal levels below, shape (num_lower, *grid.shape); zeros for none.
    communicator
        The ranks over which the grid is divided.
    """

    hamiltonian: SchrodingerHamiltonian
    wave_function: GridWaveFunction
    lower: jax.Array
    communicator: Communicator

    def own(self) -> "System":
        """Return what a rank sees of the whole: all of it."""
        return self

    def divided(self) -> "System | DividedSystem":
        """Return the system in the form that programs of the ranks take."""
        return self if self.communicator == SERIAL else _divide(self)

    def function(self, parameters: Any) -> jax.Array:
        """Return psi without the lower levels: one function or several."""
        psi = self.wave_function(self.communicator.replicate(parameters))
        return project_out(self.lower, psi, communicator=self.communicator)

    def energy(self, parameters: Any) -> jax.Array:
        """Return the Rayleigh quotient; of several functions, the lowest."""
        psi = self.function(parameters)
        is_one = psi.ndim == self.hamiltonian.grid.dimension
        quotient = rayleigh_quotient if is_one else combination_energy
        return quotient(self.hamiltonian, psi, communicator=self.communicator)

    def residual_norm(self, parameters: Any) -> jax.Array:
        """Return the norm of the residual."""
        psi = self.best_function(parameters)
        estimate = energy_estimate(
            self.hamiltonian, psi, communicator=self.communicator
        )
        return estimate.residual_norm

    def best_function(self, parameters: Any) -> jax.Array:
        """Return psi; of several functions, the combination of lowest energy."""
        psi = self.function(parameters)
        if psi.ndim == self.hamiltonian.grid.dimension:
            return psi
        coefficients, _ = lowest_combination(
            self.hamiltonian, psi, communicator=self.communicator
        )
        return jnp.tensordot(coefficients, psi, axes=1)

    def state(self, parameters: Any) -> jax.Array:
        """Return psi, normalized and orthogonal to the lower levels."""
        psi = self.best_function(parameters)
        psi = psi / norm(psi, communicator=self.communicator)
        psi = project_out(self.lower, psi, communicator=self.communicator)
        return psi / norm(psi, communicator=self.communicator)


@partial(register_dataclass, static=("laplacian", "apply", "communicator"))
@dataclass(frozen=True)
class DividedSystem:
    """The blocks of all ranks; made by `System.divided`."""

    blocks: Divided
    laplacian: Laplacian
    apply: NetworkFunction
    communicator: Communicator

    def own(self) -> System:
        """Return the block of this rank, in its program.

        Wave functions, the lower levels too, are zero where the block is padded.
        """
        own = self.blocks.values
        factor, lower = map(self._without_padding, (own["factor"], own["lower"]))
        points = own["points"].reshape(factor.size, -1)
        return System(
            SchrodingerHamiltonian(self.laplacian, own["potential"]),
            GridWaveFunction(self.apply, points, factor),
            jnp.moveaxis(lower, 1, 0),
            self.communicator,
        )

    def _without_padding(self, rows: jax.Array) -> jax.Array:
        mask = jnp.expand_dims(self.blocks.mask, tuple(range(1, rows.ndim)))
        return jnp.where(mask, rows, jnp.zeros_like(rows))


def _divide(system: System) -> DividedSystem:
    hamiltonian, wave_function = system.hamiltonian, system.wave_function
    arrays = {
        "potential": hamiltonian.potential,
        "points": wave_function.points.reshape(*hamiltonian.grid.shape, -1),
        "factor": wave_function.factor,
        "lower": np.moveaxis(np.asarray(system.lower), 0, 1),
    }
    return DividedSystem(
        system.communicator.divide(arrays),
        replace(hamiltonian.laplacian, communicator=system.communicator),
        wave_function.apply,
        system.communicator,
    )


def objectives(system: System) -> tuple[Partial, Partial]:
    """Return energy and residual norm as functions of parameters, for the ranks."""
    bound = system.divided()
    return Partial(_energy, bound), Partial(_residual_norm, bound)


def state(system: System, parameters: Any) -> jax.Array:
    """Return the normalized state of parameters on the whole grid."""
    communicator = system.communicator
    return communicator.fetch(
        _state_program(communicator)(system.divided(), parameters)
    )


def _energy(bound: System | DividedSystem, parameters: Any) -> jax.Array:
    return bound.own().energy(parameters)


def _residual_norm(bound: System | DividedSystem, parameters: Any) -> jax.Array:
    return bound.own().residual_norm(parameters)


@cache
def _state_program(communicator: Communicator) -> Program:
    """Compile the state once for each communicator."""

    def program(bound: System | DividedSystem, parameters: Any) -> jax.Array:
        system = bound.own()
        num_rows = system.hamiltonian.grid.shape[0]
        return communicator.gather(system.state(parameters), num_rows)

    return communicator.spmd(program)
