"""Densities of classical spins whose averages are known, for tests of samplers."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from scipy.special import spherical_in

from physml.pytrees import register_dataclass


@register_dataclass
@dataclass(frozen=True)
class BondsInField:
    """log pi = sum_(i<j) K_ij S_i.S_j + h sum_i S_i^z on sites in a row.

    A `LocalFieldDensity`: its cache holds the local fields.
    """

    couplings: jax.Array  # (sites, sites), symmetric, zero on the diagonal
    field: jax.Array  # along z

    def __call__(self, spins):
        bonds = jnp.sum(spins * (self.couplings @ spins)) / 2
        return bonds + self.field * jnp.sum(spins[:, 2])

    def start(self, spins):
        along_z = jnp.array([0.0, 0.0, 1.0], spins.dtype)[None, :]
        return self.couplings @ spins + self.field * along_z

    def local_field(self, cache, spins, site):
        del spins
        return cache[site]

    def log_ratio(self, cache, spins, site, new_spin):
        return jnp.dot(cache[site], new_spin - spins[site])

    def move(self, cache, spins, site, new_spin):
        return cache + jnp.outer(self.couplings[:, site], new_spin - spins[site])

    def log_density(self, cache, spins):
        bonds = jnp.sum(spins * (self.couplings @ spins)) / 2
        return jnp.sum(cache * spins) - bonds

    def function(self):
        """Return it as an ordinary log density."""
        return Partial(_call, self)


def _call(density, spins):
    return density(spins)


def pairs(coupling, field):
    """Return the density of four spins, two by two and in a field along z."""
    block = jnp.array([[0.0, 1.0], [1.0, 0.0]])
    return BondsInField(coupling * jnp.kron(jnp.eye(2), block), jnp.array(field))


def ring(num_sites, coupling):
    """Return the density of spins on a ring, each bond counted once."""
    shift = jnp.roll(jnp.eye(num_sites), 1, axis=0)
    return BondsInField(coupling * (shift + shift.T), jnp.array(0.0))


def observe(spins):
    """Return the product of the first bond, its square, and the first z component."""
    product = jnp.sum(spins[0] * spins[1])
    return {"bond": product, "bond_squared": product**2, "z": spins[0, 2]}


def exact_ring(num_sites, coupling):
    """Return the averages on a ring of three or more sites, by the transfer matrix.

    Its eigenvalues are i_l(K), each 2l+1 times; d^2/dK^2 of one bond's matrix gives the
    square.
    """
    order = np.arange(40)
    levels = spherical_in(order, coupling)
    slopes = spherical_in(order, coupling, derivative=True)
    # i_l'' from the differential equation of spherical Bessel functions
    curvature = levels * (1 + order * (order + 1) / coupling**2) - 2 * slopes / coupling
    weights = (2 * order + 1) * levels ** (num_sites - 1)
    partition = weights @ levels
    return {
        "bond": weights @ slopes / partition,
        "bond_squared": weights @ curvature / partition,
        "z": 0.0,
    }


def exact_pair(coupling, field=0.0):
    """Return the averages of two spins by quadrature over z, z' and an angle."""
    z, weight = np.polynomial.legendre.leggauss(60)
    angle = np.linspace(0, 2 * np.pi, 128, endpoint=False)
    planar = np.sqrt(1 - z**2)
    product = z[:, None, None] * z[None, :, None] + (
        planar[:, None, None] * planar[None, :, None] * np.cos(angle)
    )
    along = z[:, None, None] + z[None, :, None]
    density = np.exp(coupling * product + field * along) * (
        weight[:, None, None] * weight[None, :, None]
    )
    partition = np.sum(density)
    return {
        "bond": np.sum(density * product) / partition,
        "bond_squared": np.sum(density * product**2) / partition,
        "z": np.sum(density * z[:, None, None]) / partition,
    }
