r"""Peierls phases: a uniform magnetic field on a lattice. Unit: the flux quantum h/q.

.. math:: \theta_{ij} = 2 \pi \int_i^j \mathbf A \cdot d\mathbf r , \qquad
          t_{ij} c_j^\dagger c_i \to t_{ij} e^{i \theta_{ij}} c_j^\dagger c_i

with A in Landau's gauge: for :math:`\mathbf r = r_1 \mathbf a_1 + r_2 \mathbf a_2` and
the flux :math:`\Phi` through a cell it is :math:`\Phi r_1 \nabla r_2`, and the integral
along a straight bond of :math:`\boldsymbol\delta` is
:math:`\Phi (r_1 + \delta_1 / 2) \delta_2`. A particle that hops around a plaquette
counterclockwise gains :math:`e^{2 \pi i \, flux}`.

Across the joined ends of the first direction, by :math:`n_1 \mathbf a_1`, A differs by
the gradient of :math:`\Phi n_1 r_2`; the bonds that cross them carry its phase. Around
a torus it comes back to itself where the whole flux is an integer, and only there.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected, expected_type
from physml.lattices.bonds import Bond, bonds_of_shell
from physml.lattices.crystal import Crystal, Lattice
from physml.operators.hopping import BondGeometry
from physml.tracing import is_traced

INTEGER = 1e-9  # how near to an integer a flux counts as one, relative


def plaquettes_per_cell(lattice: Lattice) -> int:
    """Return the number of plaquettes in a cell of the plane of two directions.

    By Euler's formula on a torus it is that of the bonds less that of the sites: 1 on
    square, 2 on triangular (each triangle is one), 1 on honeycomb lattices.

    Raises
    ------
    ValueError
        On a chain.
    """
    in_plane = [b for b in bonds_of_shell(lattice) if not any(b.displacement[2:])]
    sites = lattice.sites_per_cell if isinstance(lattice, Crystal) else 1
    if lattice.dimension < 2 or len(in_plane) <= sites:
        raise expected(
            "a lattice with plaquettes for a flux",
            f"one of shape {lattice.shape} whose bonds enclose none",
            "pass phases=2 * pi * flux / num_sites for the flux through a ring",
        )
    return len(in_plane) - sites


def peierls_phases(
    geometry: BondGeometry, flux: jax.typing.ArrayLike, dtype: np.dtype
) -> tuple[jax.Array, ...]:
    """Return the phases of a uniform field, in the plane of the first two directions.

    Parameters
    ----------
    geometry
        Which sites are joined.
    flux
        Through each plaquette. It may be traced, and differentiated, where an end of
        the plane is open.
    dtype
        Of the phases, real.

    Returns
    -------
    tuple of jax.Array
        For each bond, of a shape that broadcasts to the cells.

    Raises
    ------
    ValueError
        If the lattice has no plaquettes, the flux is not one finite real number, or the
        lattice is a torus and the flux through it is not an integer.
    TypeError
        If the flux through a torus is traced.
    """
    count = plaquettes_per_cell(geometry.crystal)
    _require_real_number(flux)
    if all(geometry.is_periodic[:2]):
        _require_integer(flux, count * int(np.prod(geometry.shape[:2])), geometry.shape)
    through_cell = count * jnp.asarray(flux, dtype)
    is_uniform = not is_traced(flux) and _is_integer(
        count * float(np.asarray(flux)) * geometry.shape[0]
    )
    return tuple(
        2
        * jnp.pi
        * through_cell
        * jnp.asarray(_areas(bond, geometry, is_uniform), dtype)
        for bond in geometry.bonds
    )


def _areas(bond: Bond, geometry: BondGeometry, is_uniform: bool) -> np.ndarray:
    """Return theta / (2 pi Phi) of a bond in each cell, the area in units of the cell.

    Parameters
    ----------
    bond, geometry
        Which.
    is_uniform
        True leaves out whole areas of n_1, whose phase is a multiple of 2 pi.
    """
    basis = np.asarray(geometry.crystal.basis)
    start, end = basis[bond.start], basis[bond.end]
    step = np.asarray(bond.displacement) + end - start
    n = geometry.shape
    first = np.arange(n[0]).reshape(-1, *[1] * (len(n) - 1))
    second = np.arange(n[1]).reshape(1, -1, *[1] * (len(n) - 2))
    area = (first + start[0] + step[0] / 2) * step[1]
    if not (geometry.is_periodic[0] and bond.displacement[0]):
        return area
    times_around = (first + bond.displacement[0]) // n[0]
    reached = end[1] if is_uniform else second + start[1] + step[1]
    return area - times_around * n[0] * reached


def _require_real_number(flux: jax.typing.ArrayLike) -> None:
    if np.shape(flux) or jnp.iscomplexobj(flux):
        raise expected(
            "a real flux, one number", flux, "use jax.vmap for several, phases for more"
        )
    if not is_traced(flux) and not np.isfinite(flux):
        raise expected("a finite flux", flux, "give it in flux quanta")


def _require_integer(
    flux: jax.typing.ArrayLike, num_plaquettes: int, shape: Sequence[int]
) -> None:
    if is_traced(flux):
        raise expected_type(
            "a known flux on a lattice whose ends are all joined",
            "a traced one",
            "pass it from outside of jit and grad, or open an end",
        )
    if not _is_integer(float(np.asarray(flux)) * num_plaquettes):
        raise expected(
            f"a flux that is a multiple of 1/{num_plaquettes} through a plaquette of a "
            f"periodic lattice of shape {tuple(shape)}",
            flux,
            "choose such a flux, a commensurate lattice, or an open end",
        )


def _is_integer(number: float) -> bool:
    return abs(number - round(number)) <= INTEGER * max(1.0, abs(number))
