r"""Dynamical mean-field theory of the Hubbard model on the Bethe lattice, half filled.

In infinite dimensions the lattice is an impurity in a bath that must make the
impurity's own Green's function again. With half bandwidth D

.. math:: \Delta(i\omega) = \frac{D^2}{4} G(i\omega) .

Each iteration fits a bath of a few sites to Delta, with weights 1 / omega
(`nearby_minimum`), diagonalizes the impurity (`impurity_solver`), and moves Delta
towards D^2 G / 4. At half filling all functions of i omega are imaginary: real arrays
hold their imaginary parts. T = 0; the frequencies, (2n + 1) pi / beta with a fictitious
beta, are where the bath is fitted, and what lies below the first is not resolved.

Source: A. Georges, G. Kotliar, W. Krauth, M. J. Rozenberg, Rev. Mod. Phys. 68, 13
(1996), https://doi.org/10.1103/RevModPhys.68.13, sections VI.A.1 and VII.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.dynamical_mean_field.bath import Bath, semicircular_greens_function
from physml.dynamical_mean_field.bath_form import BathForm
from physml.dynamical_mean_field.bath_problem import BathProblem
from physml.dynamical_mean_field.impurity import half_filled_impurity
from physml.dynamical_mean_field.impurity_solver import random_states, solve_impurity
from physml.dynamical_mean_field.nearby_minimum import follow_minimum
from physml.failures import expected
from physml.pytrees import register_dataclass
from physml.tracing import is_traced

LEAST_COUPLING = 0.02  # of a start, of all: the derivative vanishes at V = 0
SPECTRUM_TOLERANCE = 1e-6  # relative residual; G errs by about its square


@register_dataclass
@dataclass(frozen=True)
class BetheLattice:
    """The half-filled Hubbard model, and the frequencies on which its bath is fitted.

    Parameters
    ----------
    interaction
        U, an energy.
    frequencies
        omega_n > 0, energies, shape (num_frequencies,).
    half_bandwidth
        D, an energy.
    """

    interaction: jax.Array
    frequencies: jax.Array
    half_bandwidth: jax.Array

    @property
    def z(self) -> jax.Array:
        """I omega_n, complex."""
        return jax.lax.complex(jnp.zeros_like(self.frequencies), self.frequencies)


class MeanField(NamedTuple):
    """Where the iteration stands: imaginary parts on all frequencies, and figures.

    The impurity's figures are those of `bath`, the fit to the hybridization before the
    last mixing.
    """

    hybridization: jax.Array  # Im Delta, (num_frequencies,), as all functions
    bath: Bath  # levels ascending, symmetric about zero
    states: jax.Array  # the impurity's ground state, as `solve_impurity` has it
    greens_function: jax.Array  # Im G of the impurity
    self_energy: jax.Array  # Im Sigma
    double_occupancy: jax.Array
    fit_error: jax.Array  # the largest of |Delta - Delta of the bath|, an energy
    change: jax.Array  # the largest of |D^2 G / 4 - Delta|, an energy
    impurity_converged: jax.Array
    num_iterations: jax.Array

    def quasiparticle_weight(self, lattice: BetheLattice) -> jax.Array:
        r"""Return :math:`Z = [1 - \mathrm{Im} \Sigma(i\omega_0) / \omega_0]^{-1}`."""
        return 1 / (1 - self.self_energy[0] / lattice.frequencies[0])

    def is_metallic(self, lattice: BetheLattice) -> jax.Array:
        """Tell whether there are quasiparticles: a peak of width Z D above omega_0.

        A narrower one would be an artifact: the bath that is to make it again is fitted
        on frequencies that take it for a single level.
        """
        width = self.quasiparticle_weight(lattice) * lattice.half_bandwidth
        return width > lattice.frequencies[0]

    def restarted(self) -> "MeanField":
        """Return it as the start of another iteration, as for a U nearby."""
        return self._replace(**_not_iterated(self.hybridization))


def _not_iterated(hybridization: jax.Array) -> dict[str, Any]:
    """Return what is known before the first iteration, always of the same types."""
    return {
        "change": jnp.full_like(hybridization[0], jnp.inf),
        "impurity_converged": jnp.asarray(True),
        "num_iterations": jnp.asarray(0),
    }


def metallic_start(lattice: BetheLattice, num_sites: int) -> MeanField:
    """Return Delta without interaction, and the end of a chain of sites as its bath."""
    d = lattice.half_bandwidth
    greens_function = semicircular_greens_function(lattice.z / d).imag / d
    k = np.arange(1, num_sites + 1) * np.pi / (num_sites + 1)
    couplings = d * np.sin(k) / np.sqrt(2 * (num_sites + 1))
    return _start(lattice, greens_function, Bath(-d * np.cos(k), couplings))


def insulating_start(lattice: BetheLattice, num_sites: int) -> MeanField:
    """Return Delta of an atom, G = 1 / (z - U^2 / 4z), and a bath about -U/2 and U/2.

    Raises
    ------
    ValueError
        For an odd number of sites, one of which would be at zero, or U = 0.
    """
    d, u = lattice.half_bandwidth, lattice.interaction
    if num_sites % 2:
        raise expected("an even number of sites", num_sites, "take one less")
    if not is_traced(u) and u <= 0:
        raise expected("U > 0", u, "call metallic_start")
    omega = lattice.frequencies
    num_pairs = num_sites // 2
    k = np.arange(1, num_pairs + 1) * np.pi / (num_pairs + 1)
    upper = u * (2 - np.cos(k)) / 4
    couplings = d * np.sin(k) / (2 * np.sqrt(num_pairs + 1))
    bath = Bath(jnp.concatenate([-upper[::-1], upper]), jnp.tile(couplings, 2))
    return _start(lattice, -1 / (omega + u**2 / (4 * omega)), bath)


def _start(lattice: BetheLattice, greens_function: jax.Array, bath: Bath) -> MeanField:
    hybridization = lattice.half_bandwidth**2 / 4 * greens_function
    return MeanField(
        hybridization=hybridization,
        bath=jax.tree.map(jnp.asarray, bath),
        states=random_states(bath.num_sites + 1, 1),
        greens_function=greens_function,
        self_energy=jnp.zeros_like(hybridization),
        double_occupancy=jnp.full_like(hybridization[0], 0.25),
        fit_error=jnp.full_like(hybridization[0], jnp.inf),
        **_not_iterated(hybridization),
    )


def iterate(
    lattice: BetheLattice,
    start: MeanField,
    *,
    mixing: float | jax.Array = 0.7,
    tolerance: float | jax.Array = 1e-6,
    max_iterations: int | jax.Array = 500,
) -> MeanField:
    """Iterate until Delta = D^2 G / 4, the limit, or what is not finite.

    The whole loop is one compiled program, the same for all U.

    Parameters
    ----------
    lattice
        The model.
    start
        Delta and a bath to start from; its iterations count.
    mixing
        The part of the new Delta that is taken, above 0, up to 1.
    tolerance
        Of `change`, an energy.
    max_iterations
        All told.

    Examples
    --------
    The metal at U = D, with a bath of 3 sites:

    >>> import jax.numpy as jnp
    >>> import physml
    >>> from physml.dynamical_mean_field import matsubara_frequencies
    >>> physml.enable_x64()
    >>> omega = jnp.asarray(matsubara_frequencies(100.0, 128))
    >>> lattice = BetheLattice(jnp.asarray(1.0), omega, jnp.asarray(1.0))
    >>> state = iterate(lattice, metallic_start(lattice, 3))
    >>> round(float(state.quasiparticle_weight(lattice)), 2)
    0.73
    """
    return _iterate(lattice, start, mixing, tolerance, max_iterations)


@jax.jit
def _iterate(
    lattice: BetheLattice,
    start: MeanField,
    mixing: float | jax.Array,
    tolerance: float | jax.Array,
    max_iterations: int | jax.Array,
) -> MeanField:
    def goes_on(state: MeanField) -> jax.Array:
        is_off = (state.change > tolerance) & state.impurity_converged  # not for NaN
        return is_off & (state.num_iterations < max_iterations)

    return jax.lax.while_loop(goes_on, partial(_step, lattice, mixing), start)


def _step(
    lattice: BetheLattice, mixing: float | jax.Array, state: MeanField
) -> MeanField:
    bath = _fitted_bath(lattice, state)
    impurity = half_filled_impurity(lattice.interaction, bath)
    solution = solve_impurity(
        impurity, lattice.z, num_electrons=bath.num_sites + 1, states=state.states
    )
    greens_function = solution.greens_function.imag
    change = lattice.half_bandwidth**2 / 4 * greens_function - state.hybridization
    error = bath.hybridization(lattice.z).imag - state.hybridization
    return MeanField(
        hybridization=state.hybridization + mixing * change,
        bath=bath,
        states=solution.states,
        greens_function=greens_function,
        self_energy=impurity.self_energy(lattice.z, solution.greens_function).imag,
        double_occupancy=solution.double_occupancy,
        fit_error=jnp.max(jnp.abs(error)),
        change=jnp.max(jnp.abs(change)),
        impurity_converged=solution.converged,
        num_iterations=state.num_iterations + 1,
    )


def _fitted_bath(lattice: BetheLattice, state: MeanField) -> Bath:
    """Return the bath of least distance from Delta next to the one before."""
    problem = _bath_problem(lattice, state)
    total = jnp.sqrt(jnp.max(jnp.abs(lattice.frequencies * state.hybridization)))
    couplings = jnp.maximum(state.bath.couplings, LEAST_COUPLING * total)
    start = problem.form.parameters_of(Bath(state.bath.levels, couplings[:, None]))
    found = follow_minimum(problem, start, "levenberg_marquardt")
    return problem.ordered_bath(found)


def _bath_problem(lattice: BetheLattice, state: MeanField) -> BathProblem:
    delta = jax.lax.complex(jnp.zeros_like(state.hybridization), state.hybridization)
    weights = 1 / lattice.frequencies
    return BathProblem(
        z=lattice.z,
        hybridization=delta[:, None, None],
        weights=weights / jnp.sum(weights),
        chemical_potential=jnp.zeros_like(weights[0]),
        sum_rule=None,
        form=BathForm(state.bath.num_sites, is_symmetric=True),
        fitted="hybridization",
        power=2.0,
        has_orbital_axes=False,
    )


def spectral_function(
    lattice: BetheLattice, state: MeanField, energies: jax.Array, broadening: float
) -> jax.Array:
    r"""Return the spectrum of the lattice: states of one spin in a unit of energy.

    .. math:: A(\omega) = - \frac1\pi \mathrm{Im} \, G_0(z + U/2 - \Sigma(z)) ,
              \qquad z = \omega + i \eta ,

    with the semicircle's :math:`G_0` and the impurity's self-energy.

    Parameters
    ----------
    lattice, state
        The model and its mean field.
    energies
        omega, counted from the Fermi level, shape (num_energies,).
    broadening
        eta, an energy > 0.
    """
    bath = state.bath
    z = jax.lax.complex(energies, jnp.full_like(energies, broadening))
    solution = solve_impurity(
        half_filled_impurity(lattice.interaction, bath),
        z,
        num_electrons=bath.num_sites + 1,
        states=state.states,
        tolerance=SPECTRUM_TOLERANCE,
    )
    of_one_site = 1 / solution.greens_function + bath.hybridization(z)
    d = lattice.half_bandwidth
    return -semicircular_greens_function(of_one_site / d).imag / (jnp.pi * d)
