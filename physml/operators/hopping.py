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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from physml.lattices.bonds import Bond
from physml.lattices.crystal import Crystal
from physml.operators.shifts import Shift, make_window, reversed_weight, shifted_sum
from physml.pytrees import register_dataclass

Value = TypeVar("Value")


@dataclass(frozen=True)
class BondGeometry:
    """Which sites are joined.

    Parameters
    ----------
    crystal
        The sites.
    is_periodic
        For each direction, whether its two ends are joined.
    bonds
        Each once: the way back is understood.
    """

    crystal: Crystal
    is_periodic: tuple[bool, ...]
    bonds: tuple[Bond, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of cells along each direction."""
        return self.crystal.shape

    @property
    def num_sites(self) -> int:
        """Number of sites in all."""
        return self.crystal.num_sites

    @property
    def folded_shape(self) -> tuple[int, ...]:
        """The shape with the sites of a cell joined to the last direction."""
        return (*self.shape[:-1], self.shape[-1] * self.crystal.sites_per_cell)

    def shift(self, bond: Bond) -> Shift:
        """Return the steps of a bond along the axes of the folded shape."""
        *steps, last = (
            int(np.fmod(step, length)) if joined else step
            for step, length, joined in zip(
                bond.displacement, self.shape, self.is_periodic, strict=True
            )
        )
        return (*steps, last * self.crystal.sites_per_cell + bond.end - bond.start)

    def each_bond(self, values: Sequence[Value]) -> Iterator[tuple[Bond, Value]]:
        """Join the bonds with one value for each; no values stand for no bonds."""
        return zip(self.bonds if values else (), values, strict=True)

    def matrix(self, bond: Bond, amplitude: np.ndarray) -> scipy.sparse.csr_array:
        """Return the matrix of the bonds of one kind, from their starts to ends."""
        cells = np.indices(self.shape).reshape(len(self.shape), -1)
        ends = cells + np.array(bond.displacement)[:, None]
        size, joined = np.array(self.shape)[:, None], np.array(self.is_periodic)
        inside = np.all(((ends >= 0) & (ends < size)) | joined[:, None], axis=0)
        end = np.ravel_multi_index(tuple((ends % size)[:, inside]), self.shape)
        count = self.crystal.sites_per_cell
        place = (
            end * count + bond.end,
            np.flatnonzero(inside) * count + bond.start,
        )
        values = np.broadcast_to(amplitude, self.shape).ravel()[inside]
        return scipy.sparse.csr_array((values, place), shape=(self.num_sites,) * 2)

    def weights(
        self,
        diagonal: jax.Array,
        amplitudes: Sequence[jax.Array],
        *,
        way_back: Callable[[jax.Array], jax.Array] = jnp.conj,
    ) -> dict[Shift, jax.Array]:
        """Return W_d with (H v)_i = sum_d W_(d,i) v_(i+d), on the folded shape.

        Parameters
        ----------
        diagonal
            Shape (n,) or ().
        amplitudes
            From the start of each bond to its end; empty for no bonds.
        way_back
            The amplitude from end to start: the complex conjugate, or another one.
        """
        shape = self.folded_shape
        weights = {
            (0,) * len(shape): diagonal.reshape(
                shape if diagonal.ndim else (1,) * len(shape)
            )
        }
        for bond, amplitude in self.each_bond(amplitudes):
            there = self.shift(bond)
            back = tuple(-step for step in there)
            forward = self._folded(amplitude, bond.start)
            _add(weights, there, way_back(forward))
            _add(weights, back, reversed_weight(forward, there))
        return weights

    def _folded(self, amplitude: jax.Array, start: int) -> jax.Array:
        """Give an amplitude for each cell to one of its sites, zero to the others."""
        missing = len(self.shape) - amplitude.ndim
        amplitude = amplitude.reshape((1,) * missing + amplitude.shape)
        count = self.crystal.sites_per_cell
        if count == 1:
            return amplitude
        length = self.shape[-1]
        cells = jnp.broadcast_to(amplitude, (*amplitude.shape[:-1], length))
        sites = jnp.zeros((*cells.shape, count), cells.dtype).at[..., start].set(cells)
        return sites.reshape(*cells.shape[:-1], length * count)


@partial(register_dataclass, static=("geometry",))
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

    is_hermitian_for_all_leaves: ClassVar[bool] = True  # no change of them spoils that

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
        vectors = jnp.asarray(vectors)
        dtype = np.result_type(self.dtype, vectors.dtype)
        shape = (*vectors.shape[:-1], *self.geometry.folded_shape)
        field = vectors.astype(dtype).reshape(shape)
        weights = self.geometry.weights(self.potential, self.amplitudes)
        window = make_window(field, weights, self.geometry.is_periodic)
        return shifted_sum((weights, window)).reshape(vectors.shape)

    def to_sparse(self) -> scipy.sparse.csr_array:
        """Return the matrix, shape (n, n), from the numbers of the sites."""
        diagonal = np.broadcast_to(np.asarray(self.potential, self.dtype), self.size)
        matrix = scipy.sparse.diags_array(diagonal).tocsr()
        for bond, amplitude in self.geometry.each_bond(self.amplitudes):
            forward = self.geometry.matrix(bond, np.asarray(amplitude, self.dtype))
            matrix = matrix + forward + forward.conj().T
        return matrix


def _add(weights: dict[Shift, jax.Array], shift: Shift, weight: jax.Array) -> None:
    """Add a weight to one of the same shift, as of two bonds of a honeycomb."""
    if shift in weights:
        dtype = np.result_type(weight.dtype, weights[shift].dtype)
        weight = weight.astype(dtype) + weights[shift].astype(dtype)
    weights[shift] = weight
