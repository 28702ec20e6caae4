r"""Bogoliubov-de Gennes: quasiparticles of a superconductor on a lattice.

.. math::
    H = \begin{pmatrix} h - \mu & \Delta \\ \Delta^\dagger & -(h - \mu)^* \end{pmatrix}
    , \qquad \Delta = \Delta^T

acts on (u, v), size 2n: u on the n sites first, then v on the n sites. h is the
Hamiltonian of `tight_binding`, Delta the gap of singlet pairs: on-site (s-wave), or on
bonds with the factor :math:`\cos 2 \varphi` of the bond's direction (d-wave, + along x
and - along y). Energies in the units of h; levels come in pairs E, -E.

On a square lattice :math:`E_k = \pm \sqrt{\xi_k^2 + \Delta_k^2}` with
:math:`\Delta_k = \Delta_s + 2 \Delta_d (\cos k_x - \cos k_y)`. Element (i, i) of the
Green's function, i < n, is that of an electron on site i.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from physml.failures import expected
from physml.hamiltonians.lattice_fields import (
    Values,
    each_bond,
    each_site,
    real_dtype,
)
from physml.lattices.bonds import Bond, bonds_of_shell
from physml.operators.hopping import BondGeometry, HoppingOperator
from physml.operators.shifts import Shift, make_window, shifted_sum
from physml.pytrees import register_dataclass


@dataclass(frozen=True)
class Vortex:
    r"""A gap that vanishes at a point and whose phase winds around it.

    .. math:: \Delta(\mathbf r) \to \Delta \tanh(\rho / \xi) \, e^{i w \varphi}

    Parameters
    ----------
    center
        The point, in the plane of the lattice; between sites, so that no phase is
        undefined.
    winding
        w, how often the phase winds.
    core_radius
        xi, in nearest-neighbor distances; zero for no core, a gap of one size.

    Raises
    ------
    ValueError
        For a center that is not finite, a fraction of a winding, a negative core.
    """

    center: tuple[float, float]
    winding: int = 1
    core_radius: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a vortex that is none."""
        if not np.isfinite(self.center).all():
            cure = "give x and y between sites"
            raise expected("a vortex at a finite point of the plane", self.center, cure)
        if self.winding % 1:
            raise expected("an integer winding", self.winding, "1 is the default")
        if not 0 <= self.core_radius < np.inf:
            raise expected("core_radius >= 0", self.core_radius, "0 for no core")

    def profile(self, points: np.ndarray) -> np.ndarray:
        """Return the factor of the gap at points (..., 2), complex."""
        x, y = np.moveaxis(points - np.asarray(self.center), -1, 0)
        turned = np.exp(1j * self.winding * np.arctan2(y, x))
        distance = np.hypot(x, y)
        if self.core_radius == 0:
            return turned
        return np.tanh(distance / self.core_radius) * turned


@register_dataclass
@dataclass(frozen=True)
class BogoliubovDeGennes:
    """The Hermitian matrix above. Build it with `bogoliubov_de_gennes`.

    Parameters
    ----------
    normal
        h - mu.
    on_site_gap
        Delta_ii, real or complex, shape (n,) or ().
    bond_gaps
        Delta_ij = Delta_ji of each bond, of a shape that broadcasts to the cells; empty
        where no bond has one.
    """

    normal: HoppingOperator
    on_site_gap: jax.Array
    bond_gaps: tuple[jax.Array, ...]

    @property
    def size(self) -> int:
        """Twice the number of sites."""
        return 2 * self.normal.size

    @property
    def dtype(self) -> Any:
        """That of the elements: real unless an amplitude or a gap is complex."""
        gaps = (self.on_site_gap, *self.bond_gaps)
        return np.result_type(self.normal.dtype, *(gap.dtype for gap in gaps))

    def __call__(self, vectors: jax.Array, /) -> jax.Array:
        """Return H (u, v) for each vector, shape (..., 2n)."""
        vectors, geometry = jnp.asarray(vectors), self.normal.geometry
        dtype = np.result_type(self.dtype, vectors.dtype)
        shape = (*vectors.shape[:-1], 2, *geometry.folded_shape)
        both = vectors.astype(dtype).reshape(shape)
        pair = geometry.weights(self.normal.potential, self.normal.amplitudes)
        gap = geometry.weights(self.on_site_gap, self.bond_gaps, way_back=_same)
        axis = vectors.ndim - 1
        u, v = (
            make_window(
                jax.lax.index_in_dim(both, k, axis, keepdims=False),
                pair,
                geometry.is_periodic,
            )
            for k in range(2)
        )
        upper = shifted_sum((pair, u), (gap, v))
        lower = shifted_sum((_each(jnp.conj, gap), u), (_each(_minus_conj, pair), v))
        return jnp.stack([upper, lower], axis).reshape(vectors.shape)

    def to_sparse(self) -> scipy.sparse.csr_array:
        """Return the matrix, shape (2n, 2n)."""
        normal, gap = self.normal.to_sparse(), self._gap_matrix()
        blocks = [[normal, gap], [gap.conj(), -normal.conj()]]
        return scipy.sparse.block_array(blocks, format="csr")

    def _gap_matrix(self) -> scipy.sparse.csr_array:
        geometry = self.normal.geometry
        diagonal = np.broadcast_to(np.asarray(self.on_site_gap), geometry.num_sites)
        matrix = scipy.sparse.diags_array(diagonal).tocsr()
        for bond, gap in geometry.each_bond(self.bond_gaps):
            forward = geometry.matrix(bond, np.asarray(gap))
            matrix = matrix + forward + forward.T
        return matrix


def bogoliubov_de_gennes(
    normal: HoppingOperator,
    *,
    chemical_potential: jax.typing.ArrayLike = 0.0,
    s_wave: Values = 0.0,
    d_wave: Values | None = None,
    vortex: Vortex | None = None,
) -> BogoliubovDeGennes:
    r"""Return the Hamiltonian of quasiparticles, applied without a matrix.

    It is differentiable in the leaves of `normal` and in all numbers given here, and
    may be called inside of jit, grad and vmap.

    Parameters
    ----------
    normal
        The electrons without a gap, from `tight_binding`, with impurities and field.
    chemical_potential
        mu.
    s_wave
        Delta_ii, real or complex: one number, or one for each site, shape (n,).
    d_wave
        Delta_d of nearest neighbors, real or complex, before the bond's factor: one
        number, or one for each bond (and cell), shaped as tight_binding's `hopping`.
    vortex
        Multiplies the gaps by its profile, at the site or in the middle of the bond.

    Raises
    ------
    ValueError
        For shapes that do not fit, numbers that are not finite, a d-wave on a chain, or
        a vortex on a lattice with joined ends.

    Examples
    --------
    >>> from physml.hamiltonians import tight_binding
    >>> from physml.lattices import square
    >>> normal = tight_binding(square(4, 4))
    >>> bogoliubov_de_gennes(normal, chemical_potential=-0.5, d_wave=0.2).size
    32
    """
    geometry = normal.geometry
    dtype = real_dtype(normal.potential)
    shifted = normal.potential - jnp.asarray(chemical_potential, dtype)
    on_site = each_site(s_wave, geometry.crystal, "s_wave", dtype)
    on_bonds: tuple[jax.Array, ...] = ()
    if d_wave is not None:
        signs = _d_wave_signs(geometry)
        gaps = each_bond(d_wave, geometry, "d_wave", dtype)
        on_bonds = tuple(sign * gap for sign, gap in zip(signs, gaps, strict=True))
    if vortex is not None:
        on_site = _wound(on_site, vortex, _sites(geometry).reshape(-1, 2))
        on_bonds = tuple(
            _wound(gap, vortex, _middles(bond, geometry))
            for bond, gap in geometry.each_bond(on_bonds)
        )
    return BogoliubovDeGennes(replace(normal, potential=shifted), on_site, on_bonds)


def _d_wave_signs(geometry: BondGeometry) -> list[float]:
    """Return cos(2 phi) of nearest-neighbor bonds, zero for others."""
    _require_plane(geometry, "a d-wave gap")
    nearest = bonds_of_shell(geometry.crystal)
    signs = []
    for bond in geometry.bonds:
        x, y = _vector(bond, geometry)
        is_nearest = bond in nearest or bond.reversed() in nearest
        signs.append(float((x**2 - y**2) / (x**2 + y**2)) if is_nearest else 0.0)
    return signs


def _wound(gap: jax.Array, vortex: Vortex, points: np.ndarray) -> jax.Array:
    factor = jnp.asarray(
        vortex.profile(points), np.result_type(gap.dtype, np.complex64)
    )
    gap = gap.reshape((1,) * (factor.ndim - gap.ndim) + gap.shape)
    return gap.astype(factor.dtype) * factor


def _sites(geometry: BondGeometry) -> np.ndarray:
    _require_plane(geometry, "a vortex")
    if any(geometry.is_periodic):
        raise expected(
            "open ends for a vortex, whose phase winds around the lattice",
            "a lattice with joined ends",
            'pass boundary="open" to tight_binding',
        )
    return geometry.crystal.positions()  # (n_1, n_2, sites_per_cell, 2)


def _middles(bond: Bond, geometry: BondGeometry) -> np.ndarray:
    return _sites(geometry)[..., bond.start, :] + _vector(bond, geometry) / 2


def _vector(bond: Bond, geometry: BondGeometry) -> np.ndarray:
    basis = np.asarray(geometry.crystal.basis)
    step = np.asarray(bond.displacement) + basis[bond.end] - basis[bond.start]
    return step @ np.asarray(geometry.crystal.bravais.primitive_vectors)


def _require_plane(geometry: BondGeometry, name: str) -> None:
    if geometry.crystal.dimension != 2:
        raise expected(
            f"a lattice of two directions for {name}",
            f"{geometry.crystal.dimension}",
            "take a square, triangular or honeycomb lattice",
        )


def _same(amplitude: jax.Array) -> jax.Array:
    return amplitude


def _minus_conj(weight: jax.Array) -> jax.Array:
    return -weight.conj()


def _each(
    function: Callable[[jax.Array], jax.Array], weights: dict[Shift, jax.Array]
) -> dict[Shift, jax.Array]:
    return {shift: function(weight) for shift, weight in weights.items()}
