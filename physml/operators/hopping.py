r"""Hopping between the sites of a lattice, applied without a matrix.

.. math:: (H v)_i = \epsilon_i v_i + \sum_b \big[ t_{b,i-b} \, v_{i-b}
          + t_{b,i}^* \, v_{i+b} \big]

The amplitude :math:`t_{b,i} = \langle i + b | H | i \rangle` leads along the bond b
from the site i to the site i + b; the way back has its complex conjugate, so that H is
Hermitian whatever the amplitudes are. Across an open end there is no bond.

Sites are numbered as by the lattice's `positions`. The last direction and the sites of
a cell are taken as one axis: every bond is then one shift of an array, in a copy of the
vectors with a margin that holds what lies beyond the ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from physml.lattices.bonds import Bond
from physml.lattices.neighbors import with_margins


@dataclass(frozen=True)
class BondGeometry:
    """Which sites are joined.

    Parameters
    ----------
    shape
        Number of cells along each direction.
    sites_per_cell
        Number of sites in a cell.
    is_periodic
        For each direction, whether its two ends are joined.
    bonds
        Each once: the way back is understood.
    """

    shape: tuple[int, ...]
    sites_per_cell: int
    is_periodic: tuple[bool, ...]
    bonds: tuple[Bond, ...]

    @property
    def num_sites(self) -> int:
        """Number of sites in all."""
        return prod(self.shape) * self.sites_per_cell

    @property
    def folded_shape(self) -> tuple[int, ...]:
        """The shape with the sites of a cell joined to the last direction."""
        return (*self.shape[:-1], self.shape[-1] * self.sites_per_cell)

    def shift(self, bond: Bond) -> tuple[int, ...]:
        """Return the steps of a bond along the axes of the folded shape."""
        *steps, last = bond.displacement
        return (*steps, last * self.sites_per_cell + bond.end - bond.start)

    def elements(self, bond: Bond) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the sites where the bonds of one kind start, end, and their cells."""
        cells = np.indices(self.shape).reshape(len(self.shape), -1)
        ends = cells + np.array(bond.displacement)[:, None]
        size, joined = np.array(self.shape)[:, None], np.array(self.is_periodic)
        inside = np.all(((ends >= 0) & (ends < size)) | joined[:, None], axis=0)
        number = np.flatnonzero(inside)
        end = np.ravel_multi_index(tuple((ends % size)[:, inside]), self.shape)
        count = self.sites_per_cell
        return number * count + bond.start, end * count + bond.end, number


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["potential", "amplitudes"],
    meta_fields=["geometry"],
)
@dataclass(frozen=True)
class HoppingOperator:
    """A Hermitian matrix of on-site potentials and hopping amplitudes.

    Parameters
    ----------
    potential
        The diagonal, real, shape (n,) or ().
    amplitudes
        t of each kind of bond, real or complex, of a shape that broadcasts to
        `geometry.shape`: one number for each cell, or fewer axes of them.
    geometry
        Which sites are joined.
    """

    potential: jax.Array
    amplitudes: tuple[jax.Array, ...]
    geometry: BondGeometry

    @property
    def size(self) -> int:
        """The number of sites."""
        return self.geometry.num_sites

    @property
    def dtype(self) -> Any:
        """That of the elements: real unless an amplitude is complex."""
        return np.result_type(*(x.dtype for x in (self.potential, *self.amplitudes)))

    def __call__(self, vectors: jax.Array, /) -> jax.Array:
        """Return H v for each vector, shape (..., n)."""
        shape = self.geometry.folded_shape
        dtype = np.result_type(self.dtype, jnp.asarray(vectors).dtype)
        field = jnp.asarray(vectors, dtype).reshape(*vectors.shape[:-1], *shape)
        potential = self.potential.astype(dtype)
        if potential.ndim:
            potential = potential.reshape(shape)
        total = _times(potential, field)
        weights = _weights(self.amplitudes, self.geometry)
        margins = [max(abs(d[k]) for d in weights) for k in range(len(shape))]
        window = with_margins(field, margins, self.geometry.is_periodic)
        for shift, weight in weights.items():
            shifted = _shifted(window, shift, margins)
            total = total + _times(weight.astype(dtype), shifted)
        return total.reshape(vectors.shape)

    def to_sparse(self) -> scipy.sparse.csr_array:
        """Return the matrix, shape (n, n), from the numbers of the sites."""
        shape = (self.size, self.size)
        diagonal = np.broadcast_to(np.asarray(self.potential), self.size)
        matrix = scipy.sparse.diags_array(diagonal.astype(self.dtype)).tocsr()
        for bond, amplitude in zip(self.geometry.bonds, self.amplitudes, strict=True):
            start, end, cell = self.geometry.elements(bond)
            each = np.broadcast_to(np.asarray(amplitude), self.geometry.shape)
            value = each.ravel()[cell].astype(self.dtype)
            forward = scipy.sparse.csr_array((value, (end, start)), shape=shape)
            matrix = matrix + forward + forward.conj().T
        return matrix


Shift = tuple[int, ...]


def _weights(
    amplitudes: tuple[jax.Array, ...], geometry: BondGeometry
) -> dict[Shift, jax.Array]:
    """Return W_d with (H v)_i = sum_d W_(d,i) v_(i+d), joined where d is the same."""
    weights: dict[Shift, jax.Array] = {}
    for bond, amplitude in zip(geometry.bonds, amplitudes, strict=True):
        shift = geometry.shift(bond)
        forward = _folded(amplitude, bond.start, geometry)
        back = tuple(-step for step in shift)
        for d, weight in ((shift, forward.conj()), (back, _moved(forward, shift))):
            weights[d] = weights[d] + weight if d in weights else weight
    return weights


def _folded(amplitude: jax.Array, start: int, geometry: BondGeometry) -> jax.Array:
    """Give an amplitude for each cell to one of its sites, zero to the others."""
    count = geometry.sites_per_cell
    if count == 1:
        return amplitude
    cells = jnp.broadcast_to(amplitude, (*amplitude.shape[:-1], geometry.shape[-1]))
    one = jnp.zeros((*cells.shape, count), cells.dtype).at[..., start].set(cells)
    return one.reshape(*cells.shape[:-1], -1)


def _moved(weight: jax.Array, shift: Shift) -> jax.Array:
    """Return the weight at i - d in the place of i; over open ends vectors are zero."""
    steps = shift[len(shift) - weight.ndim :]
    moves = {k: d for k, d in enumerate(steps) if d and weight.shape[k] > 1}
    return jnp.roll(weight, tuple(moves.values()), tuple(moves)) if moves else weight


def _shifted(window: jax.Array, shift: Shift, margins: Sequence[int]) -> jax.Array:
    """Return the field at i + d from its copy with margins."""
    batch = window.ndim - len(shift)
    starts = [0] * batch + [m + d for m, d in zip(margins, shift, strict=True)]
    stops = list(window.shape[:batch]) + [
        n - m + d for n, m, d in zip(window.shape[batch:], margins, shift, strict=True)
    ]
    return jax.lax.slice(window, starts, stops)


def _times(weight: jax.Array, field: jax.Array) -> jax.Array:
    leading = (1,) * (field.ndim - weight.ndim)
    return weight.reshape(leading + weight.shape) * field
