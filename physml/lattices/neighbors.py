r"""Sums over neighbors on a periodic lattice, and their products with another field.

With T_d the translation :math:`(T_d x)_i = x_{i+d}`, indices modulo the lattice, and
:math:`D_s` the displacements of shell s,

.. math::
    (A_s x)_i = \sum_{d \in D_s} x_{i+d}, \qquad
    y = \sum_s a_s A_s x, \qquad c_s = \sum_i y_i \, (A_s x)_i .

Each set :math:`D_s` holds with d also -d, so every :math:`A_s` is symmetric. Arrays are
(..., n_1, ..., n_d, components). The last direction and the components are contiguous
in memory, so away from the edges a translation is a slice of a flat array, shifted by
a multiple of the number of components, which XLA turns into vectorized loops without
copies. The edges are small and are done apart, from windows joined around the edge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from physml.failures import expected, expected_type
from physml.lattices.bravais import BravaisLattice

Displacements = tuple[tuple[int, ...], ...]

# Measured on a processor, benchmarks/smearing.md; they change the speed only.
LARGE = 100_000  # entries from which the edges of a lattice are done apart
RUNNING_SUMS = 8  # the latency of an addition times the additions in one cycle
LONG = 10_000  # entries from which a sum is worth cutting into running sums


@partial(jax.jit, static_argnames="shells", inline=True)
def neighbor_sum(
    field: jax.Array, coefficients: jax.Array, shells: tuple[Displacements, ...]
) -> jax.Array:
    """Return sum_s a_s sum_(d in shell s) field[i + d].

    Parameters
    ----------
    field
        Shape (..., n_1, ..., n_d, components).
    coefficients
        a_s, shape (number of shells,), of the field's dtype.
    shells
        The displacements of each shell, at least one; any integers, taken modulo
        the lattice.
    """
    num_reads = sum(len(shell) for shell in shells)
    if len(shells) == 1 or (num_reads <= 4 and field.size >= LARGE):
        # So few reads that XLA joins them best by itself.
        rolled = [_rolled_sum(field, shell) for shell in shells]
        return _total([a * x for a, x in zip(coefficients, rolled, strict=True)])
    stencil = _Stencil(field.shape, shells)
    flat = jnp.reshape(field, stencil.flat_shape)
    result = jnp.zeros_like(flat)
    offset = [0] * (flat.ndim - len(stencil.sizes))
    for region in stencil.regions(flat):
        sums = stencil.sums(region)
        value = _total([a * x for a, x in zip(coefficients, sums, strict=True)])
        result = lax.dynamic_update_slice(result, value, [*offset, *region.starts])
    return jnp.reshape(result, field.shape)


@partial(jax.jit, static_argnames=("shells", "keep_batch"), inline=True)
def neighbor_products(
    left: jax.Array,
    right: jax.Array,
    shells: tuple[Displacements, ...],
    *,
    keep_batch: bool = False,
) -> jax.Array:
    """Return sum_i left[i] . sum_(d in shell s) right[i + d] for every shell s.

    Parameters
    ----------
    left, right
        Two fields of one shape (..., n_1, ..., n_d, components).
    shells
        The displacements of each shell.
    keep_batch
        True sums over sites and components only, to shape (..., number of shells);
        False over the leading axes too, to shape (number of shells,).
    """
    stencil = _Stencil(left.shape, shells)
    # Otherwise XLA keeps the sums of the forward for the pullback, a large array.
    right = lax.optimization_barrier(jnp.reshape(right, stencil.flat_shape))
    left = jnp.reshape(left, stencil.flat_shape)
    first = left.ndim - len(stencil.sizes) if keep_batch else 0
    axes = tuple(range(first, left.ndim))
    totals = []
    for region in stencil.regions(right):
        box = region.cut(left)
        terms = [box * x for x in stencil.sums(region)]
        totals.append(_sums_in_one_pass(terms, axes))
    return _total(totals)


def _rolled_sum(field: jax.Array, shell: Displacements) -> jax.Array:
    axes = tuple(range(field.ndim - 1 - len(shell[0]), field.ndim - 1))
    return _total([jnp.roll(field, [-d for d in step], axes) for step in shell])


def _sums_in_one_pass(terms: list[jax.Array], axes: tuple[int, ...]) -> jax.Array:
    """Sum several arrays of one shape over the same axes, in one loop over memory.

    An addition waits for the one before, so that one running sum leaves most of a
    processor idle: few arrays are cut into parts, each with its own running sum.
    """
    if terms[0].size < LONG:
        return jnp.moveaxis(_reduced(terms, axes), 0, -1)
    axis, num_parts = axes[0], -(-RUNNING_SUMS // len(terms))
    length = terms[0].shape[axis] // num_parts
    parts = [
        lax.slice_in_dim(term, i * length, (i + 1) * length, axis=axis)
        for term in terms
        for i in range(num_parts)
    ]
    rest = [
        lax.slice_in_dim(term, num_parts * length, term.shape[axis], axis=axis)
        for term in terms
    ]
    sums = jnp.reshape(_reduced(parts, axes), (len(terms), num_parts, -1))
    total = jnp.sum(sums, axis=1) + jnp.reshape(_reduced(rest, axes), (len(terms), -1))
    batch = tuple(n for k, n in enumerate(terms[0].shape) if k not in axes)
    return jnp.moveaxis(jnp.reshape(total, (len(terms), *batch)), 0, -1)


def _reduced(terms: list[jax.Array], axes: tuple[int, ...]) -> jax.Array:
    starts = (jnp.zeros((), terms[0].dtype),) * len(terms)
    return jnp.stack(lax.reduce(tuple(terms), starts, _add_each, axes))


def _add_each(left: tuple, right: tuple) -> tuple:
    return tuple(a + b for a, b in zip(left, right, strict=True))


@dataclass(frozen=True)
class _Region:
    """A box of sites that is summed in one loop.

    Parameters
    ----------
    window
        The field on the box and a margin around it.
    starts, sizes
        The box, along the lattice axes of the flattened field.
    """

    window: jax.Array
    starts: tuple[int, ...]
    sizes: tuple[int, ...]

    def shifted(self, step: Sequence[int], margins: Sequence[int]) -> jax.Array:
        """Return the field at the box shifted by a step."""
        batch = self.window.shape[: self.window.ndim - len(self.sizes)]
        starts = [m + d for m, d in zip(margins, step, strict=True)]
        ends = [start + n for start, n in zip(starts, self.sizes, strict=True)]
        zeros = [0] * len(batch)
        return lax.slice(self.window, [*zeros, *starts], [*batch, *ends])

    def cut(self, field: jax.Array) -> jax.Array:
        """Return the box of another field."""
        batch = field.shape[: field.ndim - len(self.sizes)]
        ends = [start + n for start, n in zip(self.starts, self.sizes, strict=True)]
        return lax.slice(field, [*[0] * len(batch), *self.starts], [*batch, *ends])


class _Stencil:
    """The shells as shifts of a field whose last direction holds the components."""

    def __init__(self, shape: Sequence[int], shells: tuple[Displacements, ...]) -> None:
        dimension = len(shells[0][0])
        *leading, components = shape
        lattice = leading[len(leading) - dimension :]
        strides = [1] * (dimension - 1) + [components]
        self.sizes = [n * stride for n, stride in zip(lattice, strides, strict=True)]
        self.flat_shape = (*leading[: len(leading) - dimension], *self.sizes)
        self.shells = [
            [_scaled(_centered(step, lattice), strides) for step in shell]
            for shell in shells
        ]
        steps = [step for shell in self.shells for step in shell]
        self.margins = [max(abs(step[k]) for step in steps) for k in range(dimension)]

    def regions(self, field: jax.Array) -> list[_Region]:
        """Cut the lattice into the inside, read in place, and its edges.

        Sites that reach over no edge are by far the most, and need no copy with a
        margin; the edges of each axis are windows of three margins.
        """
        axes = range(len(self.sizes))
        split = [k for k in axes if self.sizes[k] > 2 * self.margins[k] > 0]
        if field.size < LARGE:
            split = []
        regions = [self._region(field, dict.fromkeys(split, "inside"))]
        for position, axis in enumerate(split):
            before = dict.fromkeys(split[:position], "inside")
            for side in ("low", "high"):
                regions.append(self._region(field, before | {axis: side}))
        return regions

    def _region(self, field: jax.Array, modes: dict[int, str]) -> _Region:
        starts, sizes = [], []
        offset = field.ndim - len(self.sizes)
        for k, (n, margin) in enumerate(zip(self.sizes, self.margins, strict=True)):
            mode = modes.get(k, "whole")
            start, size = {
                "inside": (margin, n - 2 * margin),
                "low": (0, margin),
                "high": (n - margin, margin),
                "whole": (0, n),
            }[mode]
            field = _window(field, offset + k, start - margin, size + 2 * margin)
            starts.append(start)
            sizes.append(size)
        if any(modes.get(k) != "inside" for k in range(len(self.sizes))):
            # Otherwise XLA repeats the joins, with branches, in every shifted read.
            field = lax.optimization_barrier(field)
        return _Region(field, tuple(starts), tuple(sizes))

    def sums(self, region: _Region) -> list[jax.Array]:
        """Return A_s field on a region, for each shell."""
        return [
            _total([region.shifted(step, self.margins) for step in shell])
            for shell in self.shells
        ]


def _window(field: jax.Array, axis: int, start: int, size: int) -> jax.Array:
    """Return entries start, ..., start + size - 1 along an axis, continued around."""
    n = field.shape[axis]
    pieces = [
        (max(start, 0), min(start + size, n)),
        (0, start + size - n),
    ]
    if start < 0:
        pieces.insert(0, (n + start, n))
    parts = [
        lax.slice_in_dim(field, first, last, axis=axis)
        for first, last in pieces
        if first < last
    ]
    return parts[0] if len(parts) == 1 else lax.concatenate(parts, axis)


def _total(terms: list[jax.Array]) -> jax.Array:
    return sum(terms[1:], start=terms[0])


def _scaled(step: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    return tuple(d * stride for d, stride in zip(step, strides, strict=True))


def _centered(step: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Return the same displacement on the torus with |d| <= n / 2."""
    return tuple((d + n // 2) % n - n // 2 for d, n in zip(step, shape, strict=True))


def shell_displacements(
    count: int, lattice: BravaisLattice | None
) -> tuple[Displacements, ...]:
    """Return the displacements of the nearest shells; None stands for the chain.

    The chain's shell l is {+l, -l} as the formulas have it, both counted also where
    they lead to the same site.

    Raises
    ------
    ValueError
        If the lattice has fewer shells.
    """
    if lattice is None:
        return tuple(((step,), (-step,)) for step in range(1, count + 1))
    return tuple(shell.displacements for shell in lattice.shells(count))


def require_field(field: jax.Array, lattice: BravaisLattice | None) -> None:
    """Refuse an array that is no real or complex field (..., sites, components)."""
    if not jnp.issubdtype(field.dtype, jnp.inexact):
        raise expected_type(
            "real or complex spins",
            f"spins of {field.dtype}",
            "call spins.astype(float)",
        )
    dimension = 1 if lattice is None else lattice.dimension
    if field.ndim < dimension + 1:
        raise expected(
            "spins of shape (..., sites, components)"
            if lattice is None
            else f"spins of shape (..., {lattice.shape}, components)",
            f"shape {field.shape}",
            "add an axis for the components, spins[..., None]",
        )
    shape = field.shape[-1 - dimension : -1]
    if lattice is not None and shape != lattice.shape:
        raise expected(
            f"spins on a lattice of shape {lattice.shape}",
            f"{shape} in an array of shape {field.shape}",
            "pass (..., n_1, ..., n_d, components)",
        )
    if 0 in field.shape[-1 - dimension :]:
        raise expected(
            "at least one site and one component",
            f"spins of shape {field.shape}",
            "pass a lattice that is not empty",
        )


def matched(coefficients: jax.Array, field: jax.Array, name: str) -> jax.Array:
    """Return a vector of coefficients in the field's dtype.

    Raises
    ------
    ValueError
        If it is not a vector of at least one coefficient.
    TypeError
        If its dtype is neither the field's nor its real counterpart.
    """
    if coefficients.ndim != 1 or coefficients.shape[0] == 0:
        raise expected(
            f"{name} as a vector of at least one number",
            f"shape {coefficients.shape}",
            f"pass {name} of shape (number of neighbors,)",
        )
    real = jnp.finfo(field.dtype).dtype
    if coefficients.dtype not in (field.dtype, real):
        raise expected_type(
            f"{name} of {field.dtype}, as the spins",
            coefficients.dtype,
            f"call {name}.astype(spins.dtype), or cast the spins",
        )
    return coefficients.astype(field.dtype)
