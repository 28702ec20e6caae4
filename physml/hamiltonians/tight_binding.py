r"""Tight binding: particles that hop between the sites of a lattice.

.. math:: H = \sum_{i} \epsilon_i c_i^\dagger c_i + \sum_{\langle ij \rangle}
          \big( t_{ij} e^{i \theta_{ij}} c_j^\dagger c_i + h.c. \big)

Signs: H = sum t c+c, so hopping = -1 means that the matrix element is -1 (not +1), and
a chain has its lowest level at k = 0. Each bond counts once, with its way back. Units:
energies in those of the hopping, lengths in the nearest-neighbor distance, fluxes in
flux quanta. Sites are numbered from 0 in the order of the lattice's `positions`.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected, expected_type
from physml.hamiltonians.lattice_fields import (
    Values,
    each_bond,
    each_site,
    real_dtype,
    require_real,
)
from physml.hamiltonians.peierls import peierls_phases
from physml.lattices.bonds import Bond, Ends, bonds_of_shell, is_periodic
from physml.lattices.bravais import chain
from physml.lattices.crystal import Lattice, as_crystal
from physml.operators.hopping import BondGeometry, HoppingOperator


def tight_binding(
    lattice: Lattice,
    *,
    hopping: Values = -1.0,
    potential: Values = 0.0,
    flux: jax.typing.ArrayLike | None = None,
    phases: Values | None = None,
    boundary: Ends | Sequence[Ends] = "periodic",
    bonds: tuple[Bond, ...] | None = None,
) -> HoppingOperator:
    r"""Return the Hamiltonian of particles on a lattice, applied without a matrix.

    It is differentiable in hopping, potential, phases, and in the flux where an end is
    open; it may be called inside of jit, grad and vmap.

    Parameters
    ----------
    lattice
        `chain`, `square`, `triangular`, `honeycomb`, `cubic`, or one of your own.
    hopping
        t, real or complex, from the start of a bond to its end: one number; one for
        each bond, shape (num_bonds,); or one for each bond and cell, shape
        (num_bonds, n_1, ..., n_d), axes of length 1 standing for equal ones.
    potential
        epsilon, real: one number, or one for each site, shape (n,) or that of the
        sites as `positions` has it. See `impurity_potential`, `disorder_potential`.
    flux
        Of a uniform magnetic field through each plaquette, in flux quanta; a triangle
        is a plaquette of the triangular lattice. None makes H real.
    phases
        theta in radians, further ones, of a shape as for `hopping`.
    boundary
        "open" or "periodic", for all directions or a tuple of one for each.
    bonds
        Those of `bonds_of_shell(lattice)`, the nearest neighbors, if None; for further
        ones pass `bonds_of_shell(lattice, 1) + bonds_of_shell(lattice, 2)`.

    Raises
    ------
    ValueError
        For shapes that do not fit, numbers that are not finite, a complex potential, or
        a flux that does not fit on a periodic lattice.

    Notes
    -----
    Along a periodic direction of one or two sites bonds wrap around and add up, as in
    Bloch's sum: the levels are those of the bands at the allowed wave vectors.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from physml.lattices import chain
    >>> hamiltonian = tight_binding(chain(3), boundary="open")
    >>> hamiltonian(jnp.array([1.0, 0.0, 0.0])).tolist()
    [0.0, -1.0, 0.0]
    """
    crystal = as_crystal(lattice)
    bonds = bonds_of_shell(lattice) if bonds is None else bonds
    geometry = BondGeometry(crystal, is_periodic(boundary, lattice), bonds)
    dtype = real_dtype(hopping, potential)
    amplitudes = each_bond(hopping, geometry, "hopping", dtype)
    turns = [peierls_phases(geometry, flux, dtype)] if flux is not None else []
    if phases is not None:
        require_real(phases, "phases")
        turns.append(each_bond(phases, geometry, "phases", dtype))
    for turn in turns:
        amplitudes = tuple(map(_turned, amplitudes, turn))
    require_real(potential, "a potential")
    diagonal = each_site(potential, crystal, "a potential", dtype)
    return HoppingOperator(diagonal, amplitudes, geometry)


def impurity_potential(
    lattice: Lattice,
    sites: Sequence[int] | np.ndarray,
    strengths: Values,
) -> jax.Array:
    """Return a potential that is zero but on some sites, shape (n,).

    Parameters
    ----------
    lattice
        Where they are.
    sites
        Their numbers, counted from 0.
    strengths
        One energy for all, or one for each; differentiable. Equal sites add up.

    Raises
    ------
    ValueError
        For a site that is not there, strengths that are complex or of another number.
    TypeError
        For numbers of sites that are not integers.
    """
    number = np.asarray(sites).reshape(-1)
    if number.size and not np.issubdtype(number.dtype, np.integer):
        raise expected_type(
            "integer numbers of sites", number.dtype, "count the sites from 0"
        )
    outside = number[(number < 0) | (number >= lattice.num_sites)]
    if outside.size:
        raise expected(
            f"sites from 0 to {lattice.num_sites - 1}",
            outside[0],
            "count the sites of the lattice from 0",
        )
    require_real(strengths, "strengths")
    each = jnp.asarray(strengths, real_dtype(strengths))
    if each.shape not in ((), number.shape):
        raise expected(
            f"one strength, or {number.size} of them",
            f"shape {each.shape}",
            "pass one for all sites, or one for each",
        )
    potential = jnp.zeros(lattice.num_sites, each.dtype)
    return potential.at[number.astype(int)].add(each)


def disorder_potential(
    key: jax.Array, lattice: Lattice, width: jax.typing.ArrayLike
) -> jax.Array:
    """Return Anderson's disorder, shape (n,): uniform in [-width / 2, width / 2].

    Parameters
    ----------
    key
        A JAX random key.
    lattice
        Where the sites are.
    width
        W, an energy; differentiable.
    """
    unit = jax.random.uniform(
        key, (lattice.num_sites,), real_dtype(width), minval=-0.5, maxval=0.5
    )
    return jnp.asarray(width, unit.dtype) * unit


def impurity_chain(
    num_sites: int = 1000,
    *,
    hopping: jax.typing.ArrayLike = -1.0,
    potential: jax.typing.ArrayLike = 0.5,
    impurity: jax.typing.ArrayLike = 3.0,
    impurity_site: int = 499,
) -> HoppingOperator:
    """Return an open chain with one impurity, added to the potential of its site.

    With its defaults it is the problem on which Green's functions are measured: 1000
    sites, hopping -1, potential 0.5 everywhere, and 3 more on the 500th site, number
    499. With z = 5/18 + 0.05i its Green's function there, the element of
    (z - H)^-1, is -0.2314357042 - 0.1530990239i.
    """
    lattice = chain(num_sites)
    added = impurity_potential(lattice, [impurity_site], impurity)
    return tight_binding(
        lattice,
        hopping=hopping,
        potential=jnp.asarray(potential, added.dtype) + added,
        boundary="open",
    )


def _turned(amplitude: jax.Array, angle: jax.Array) -> jax.Array:
    turn = jax.lax.complex(jnp.cos(angle), jnp.sin(angle))
    dtype = np.result_type(turn.dtype, amplitude.dtype)
    leading = (1,) * max(angle.ndim - amplitude.ndim, 0)
    amplitude = amplitude.reshape(leading + amplitude.shape).astype(dtype)
    return amplitude * turn.astype(dtype)
