r"""Dynamical mean-field theory of the Hubbard model on the Bethe lattice, half filled.

In infinite dimensions the lattice is an impurity in a bath that must make the
impurity's own Green's function again. With half bandwidth D

.. math:: \Delta(i\omega) = \frac{D^2}{4} G(i\omega) .

Each iteration fits a bath of a few sites to Delta (`symmetric_fit`), diagonalizes the
impurity (`impurity_solver`), and moves Delta towards D^2 G / 4. At half filling all
functions of i omega are imaginary: real arrays hold their imaginary parts. T = 0; the
frequencies, (2n + 1) pi / beta with a fictitious beta, are where the bath is fitted.

Source: A. Georges, G. Kotliar, W. Krauth, M. J. Rozenberg, Rev. Mod. Phys. 68, 13
(1996), https://doi.org/10.1103/RevModPhys.68.13, sections VI.A.1 and VII.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from physml.dynamical_mean_field.bath import semicircular_greens_function
from physml.dynamical_mean_field.impurity import half_filled_impurity
from physml.dynamical_mean_field.impurity_solver import solve_impurity
from physml.dynamical_mean_field.symmetric_fit import (
    SymmetricBath,
    best_of_starts,
    follow_minimum,
)
from physml.pytrees import register_dataclass


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


class MeanField(NamedTuple):
    """Where the iteration stands: imaginary parts on all frequencies, and figures.

    The impurity's figures are those of `bath`, the fit to the hybridization before the
    last mixing.
    """

    hybridization: jax.Array  # Im Delta, (num_frequencies,), as all functions
    bath: SymmetricBath
    greens_function: jax.Array  # Im G of the impurity
    self_energy: jax.Array  # Im Sigma
    double_occupancy: jax.Array
    fit_error: jax.Array  # the largest of |Delta - Delta of the bath|, an energy
    change: jax.Array  # the largest of |D^2 G / 4 - Delta|, an energy
    impurity_converged: jax.Array
    num_iterations: jax.Array

    def quasiparticle_weight(self, frequencies: jax.Array) -> jax.Array:
        r"""Return :math:`Z = [1 - \mathrm{Im} \Sigma(i\omega_0) / \omega_0]^{-1}`."""
        return 1 / (1 - self.self_energy[0] / frequencies[0])

    @property
    def is_insulating(self) -> jax.Array:
        """Whether the self-energy grows down to omega_0, where it is no rounding."""
        first, second = jnp.abs(self.self_energy[:2])
        return (first > second) & (first > self.change)


def metallic_start(lattice: BetheLattice, num_sites: int) -> MeanField:
    """Return Delta without interaction, and its bath."""
    z = _imaginary(lattice.frequencies / lattice.half_bandwidth)
    greens_function = semicircular_greens_function(z).imag / lattice.half_bandwidth
    return _start(lattice, greens_function, num_sites)


def insulating_start(lattice: BetheLattice, num_sites: int) -> MeanField:
    """Return Delta of an atom's G = 1 / (z - U^2 / 4z), and its bath."""
    omega = lattice.frequencies
    greens_function = -1 / (omega + lattice.interaction**2 / (4 * omega))
    return _start(lattice, greens_function, num_sites)


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
    >>> round(float(state.quasiparticle_weight(omega)), 2)
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
    omega = lattice.frequencies
    fitted = follow_minimum(omega, state.hybridization, state.bath).bath
    bath = fitted.bath()
    impurity = half_filled_impurity(lattice.interaction, bath)
    z = _imaginary(omega)
    solution = solve_impurity(impurity, z, num_electrons=bath.num_sites + 1)
    greens_function = solution.greens_function.imag
    new = lattice.half_bandwidth**2 / 4 * greens_function
    change = new - state.hybridization
    error = fitted.hybridization(omega) - state.hybridization
    return MeanField(
        hybridization=state.hybridization + mixing * change,
        bath=fitted,
        greens_function=greens_function,
        self_energy=impurity.self_energy(z, solution.greens_function).imag,
        double_occupancy=solution.double_occupancy,
        fit_error=jnp.max(jnp.abs(error)),
        change=jnp.max(jnp.abs(change)),
        impurity_converged=solution.converged,
        num_iterations=state.num_iterations + 1,
    )


@partial(jax.jit, static_argnums=2)
def _start(
    lattice: BetheLattice, greens_function: jax.Array, num_sites: int
) -> MeanField:
    hybridization = lattice.half_bandwidth**2 / 4 * greens_function
    fit = best_of_starts(lattice.frequencies, hybridization, num_sites)
    unknown = jnp.full_like(hybridization[0], jnp.inf)
    return MeanField(
        hybridization=hybridization,
        bath=fit.bath,
        greens_function=greens_function,
        self_energy=jnp.zeros_like(hybridization),
        double_occupancy=jnp.full_like(unknown, 0.25),
        fit_error=unknown,
        change=unknown,
        impurity_converged=jnp.asarray(True),
        num_iterations=jnp.asarray(0),
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
    bath = state.bath.bath()
    impurity = half_filled_impurity(lattice.interaction, bath)
    z = jax.lax.complex(energies, jnp.full_like(energies, broadening))
    solution = solve_impurity(impurity, z, num_electrons=bath.num_sites + 1)
    of_one_site = 1 / solution.greens_function + bath.hybridization(z)
    d = lattice.half_bandwidth
    return -semicircular_greens_function(of_one_site / d).imag / (jnp.pi * d)


def _imaginary(omega: jax.Array) -> jax.Array:
    return jax.lax.complex(jnp.zeros_like(omega), omega)
