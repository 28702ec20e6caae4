r"""Sums over neighbors on a periodic lattice, and their products with another field.

With T_d the translation :math:`(T_d x)_i = x_{i+d}`, indices modulo the lattice, and
:math:`D_s` the displacements of shell s,

.. math::
    (A_s x)_i = \sum_{d \in D_s} x_{i+d}, \qquad
    y = \sum_s a_s A_s x, \qquad c_s = \sum_i y_i \, (A_s x)_i .

Each set :math:`D_s` holds with d also -d, so every :math:`A_s` is symmetric. Arrays are
(..., n_1, ..., n_d, components). The last direction and the components are contiguous
in memory and are taken as one axis. In a copy of the field with a periodic margin every
translation is then a slice, shifted along that axis by a multiple of the number of
components, and XLA adds the slices up in one vectorized loop.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from physml.failures import expected, expected_type
from physml.lattices.bravais import BravaisLattice

Displacements = tuple[tuple[int, ...], ...]

# Measured on a processor, benchmarks/smearing.md; they change the speed only.
LONG = 10_000  # entries from which a sum is worth cutting into running sums
LARGE = 100_000  # entries from which products read the inside of a lattice in place
RUNNING_SUMS = 8  # the latency of an addition times the additions in one cycle


@partial(jax.jit, static_argnames=("shells", "identity"), inline=True)
def neighbor_sum(
    field: jax.Array,
    coefficients: jax.Array,
    shells: tuple[Displacements, ...],
    *,
    identity: bool = False,
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
    identity
        True adds field[i].
    """
    if len(shells) == 1:
        # So few reads that XLA joins them best by itself, without the copy.
        own, sums = field, [_rolled_sum(field, shells[0])]
    else:
        stencil = _Stencil(field.shape, shells)
        flat = jnp.reshape(field, stencil.shape)
        window = with_margins(flat, stencil.margins)
        own = stencil.shifted(window, [0] * len(stencil.margins))
        sums = stencil.sums(window)
    terms = [a * x for a, x in zip(coefficients, sums, strict=True)]
    total = _total([own, *terms] if identity else terms)
    return jnp.reshape(total, field.shape)


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
    left, right = (jnp.reshape(x, stencil.shape) for x in (left, right))
    first = left.ndim - len(stencil.margins) if keep_batch else 0
    axes = tuple(range(first, left.ndim))
    # With several shells a smaller field is best read from the copy with a margin that
    # a sum of the same field has made; with one shell there is none.
    if left.size >= (LARGE if len(shells) > 1 else LONG):
        cover = list(_cover(left, right, stencil.margins))
    else:
        cover = [(left, with_margins(right, stencil.margins))]
    return _total(
        [
            _sums_in_one_pass([box * x for x in stencil.sums(window)], axes)
            for box, window in cover
        ]
    )


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


class _Stencil:
    """The shells as shifts of a field whose last direction holds the components."""

    def __init__(self, shape: Sequence[int], shells: tuple[Displacements, ...]) -> None:
        dimension = len(shells[0][0])
        *leading, components = shape
        batch, lattice = leading[:-dimension], leading[-dimension:]
        strides = [1] * (dimension - 1) + [components]
        self.shape = (*batch, *_scaled(lattice, strides))
        self.shells = [
            [_scaled(_centered(step, lattice), strides) for step in shell]
            for shell in shells
        ]
        steps = [step for shell in self.shells for step in shell]
        self.margins = [max(abs(step[k]) for step in steps) for k in range(dimension)]

    def sums(self, window: jax.Array) -> list[jax.Array]:
        """Return A_s field for each shell, in a window without its margins."""
        return [
            _total([self.shifted(window, step) for step in shell])
            for shell in self.shells
        ]

    def shifted(self, window: jax.Array, step: Sequence[int]) -> jax.Array:
        """Return the field at i + step, in a window without its margins."""
        batch = window.ndim - len(step)
        starts = [m + d for m, d in zip(self.margins, step, strict=True)]
        ends = [
            n - m + d
            for n, m, d in zip(window.shape[batch:], self.margins, step, strict=True)
        ]
        return lax.slice(
            window, [*[0] * batch, *starts], [*window.shape[:batch], *ends]
        )


def _cover(
    left: jax.Array, right: jax.Array, margins: Sequence[int]
) -> Iterator[tuple[jax.Array, jax.Array]]:
    """Cut a lattice into boxes: yield `left` there, and `right` with its margins.

    The inside, where no site reaches over an edge, is read in place. The seam of an
    axis, a margin to each side of its edge, is a small window.
    """
    batch = left.ndim - len(margins)
    for k, margin in enumerate(margins):
        n, later = left.shape[batch + k], margins[k + 1 :]
        if n > 2 * margin > 0:
            seam = _around_edge(right, batch + k, 2 * margin)
            yield _around_edge(left, batch + k, margin), with_margins(seam, later)
            left = lax.slice_in_dim(left, margin, n - margin, axis=batch + k)
        else:
            right = with_margins(right, [margin, *[0] * len(later)])
    yield left, right


def _around_edge(field: jax.Array, axis: int, size: int) -> jax.Array:
    """Join the last and the first entries of an axis."""
    n = field.shape[axis]
    last = lax.slice_in_dim(field, n - size, n, axis=axis)
    return lax.concatenate([last, lax.slice_in_dim(field, 0, size, axis=axis)], axis)


def with_margins(
    field: jax.Array,
    margins: Sequence[int],
    is_periodic: Sequence[bool] | None = None,
) -> jax.Array:
    """Continue the last axes by a margin to both sides, with zeros at open ends.

    Parameters
    ----------
    field
        Shape (..., n_1, ..., n_d).
    margins
        How far, for each of the last d axes; no more than their lengths.
    is_periodic
        Whether an axis is continued as itself; None for all of them.

    Joined from pieces with `concatenate` the copy can be a hundred times slower: XLA
    then runs over all entries for each piece, with masked reads outside of the array.
    """
    batch = field.ndim - len(margins)
    padded = jnp.pad(field, [(0, 0)] * batch + [(m, m) for m in margins])
    joined = [True] * len(margins) if is_periodic is None else is_periodic
    for axis, margin in enumerate(margins, start=batch):
        if margin == 0 or not joined[axis - batch]:
            continue
        n = field.shape[axis]
        low, high = np.arange(margin), np.arange(n + margin, n + 2 * margin)
        sites = (*[slice(None)] * axis, np.concatenate([low, high]))
        inside = lax.slice_in_dim(padded, margin, n + margin, axis=axis)
        ends = _around_edge(inside, axis, margin)
        padded = padded.at[sites].set(ends, unique_indices=True)
    # Otherwise XLA repeats the margins, with branches, in every shifted read.
    return lax.optimization_barrier(padded)


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
