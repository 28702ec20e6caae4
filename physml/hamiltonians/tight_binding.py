r"""Tight binding: particles that hop between the sites of a lattice.

.. math:: H = \sum_{i} \epsilon_i c_i^\dagger c_i
          + \sum_{\langle ij \rangle} \big( t_{ij} c_j^\dagger c_i + h.c. \big)

Signs: H = sum t c+c, so that hopping = -1 means that the matrix element is -1 (not +1),
and a chain has its lowest level at k = 0. Units: those of the hopping; lengths in
units of the nearest-neighbor distance.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from physml.lattices.bonds import Ends, bonds_of_shell, is_periodic
from physml.lattices.bravais import chain
from physml.lattices.crystal import Lattice, as_crystal
from physml.operators.hopping import BondGeometry, HoppingOperator


def tight_binding(
    lattice: Lattice,
    *,
    hopping: jax.typing.ArrayLike = -1.0,
    potential: jax.typing.ArrayLike = 0.0,
    boundary: Ends | Sequence[Ends] = "periodic",
) -> HoppingOperator:
    """Return the Hamiltonian of particles on a lattice."""
    crystal = as_crystal(lattice)
    bonds = bonds_of_shell(lattice)
    geometry = BondGeometry(
        crystal.shape, crystal.sites_per_cell, is_periodic(boundary, lattice), bonds
    )
    amplitudes = (jnp.asarray(hopping, float),) * len(bonds)
    return HoppingOperator(jnp.asarray(potential, float), amplitudes, geometry)


def impurity_chain(
    num_sites: int = 1000,
    *,
    hopping: float = -1.0,
    potential: float = 0.5,
    impurity: float = 3.0,
    impurity_site: int = 499,
) -> HoppingOperator:
    """Return an open chain with one impurity; sites are counted from 0.

    With its defaults it is the problem that physml's Green's functions are measured on:
    1000 sites, hopping -1, potential 0.5 everywhere and 3 more at the 500th site.
    """
    everywhere = jnp.full(num_sites, potential, float)
    return tight_binding(
        chain(num_sites),
        hopping=hopping,
        potential=everywhere.at[impurity_site].add(impurity),
        boundary="open",
    )
