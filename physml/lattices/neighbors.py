r"""Sums over neighbors on a periodic lattice, and their products with another field.

With T_d the translation :math:`(T_d x)_i = x_{i+d}`, indices modulo the lattice, and
:math:`D_s` the displacements of shell s,

.. math::
    (A_s x)_i = \sum_{d \in D_s} x_{i+d}, \qquad
    y = \sum_s a_s A_s x, \qquad c_s = \sum_i y_i \, (A_s x)_i .

Each set :math:`D_s` holds with d also -d, so every :math:`A_s` is symmetric. Arrays are
(..., n_1, ..., n_d, components). The last direction and the components are contiguous
in memory, so a translation is a shift of a flat array by a multiple of the number of
components: a slice of the array with a periodic margin, which XLA turns into
vectorized loops over contiguous memory. A `roll` for each displacement would not be.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from physml.failures import expected, expected_type
from physml.lattices.bravais import BravaisLattice

Displacements = tuple[tuple[int, ...], ...]


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
    sums = _shell_sums(field, shells)
    terms = [a * x for a, x in zip(coefficients, sums, strict=True)]
    return jnp.reshape(_total(terms), field.shape)


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
    sums = _shell_sums(right, shells)
    flat = jnp.reshape(left, sums[0].shape)
    dimension = len(shells[0][0])
    first = flat.ndim - dimension if keep_batch else 0
    return _sums_in_one_pass([flat * x for x in sums], tuple(range(first, flat.ndim)))


def _sums_in_one_pass(terms: Sequence[jax.Array], axes: tuple[int, ...]) -> jax.Array:
    """Sum several arrays of one shape over the same axes, in one loop over memory."""
    zero = jnp.zeros((), terms[0].dtype)
    starts = (zero,) * len(terms)
    return jnp.stack(lax.reduce(tuple(terms), starts, _add_each, axes), axis=-1)


def _add_each(left: tuple, right: tuple) -> tuple:
    return tuple(a + b for a, b in zip(left, right, strict=True))


def _shell_sums(field: jax.Array, shells: tuple[Displacements, ...]) -> list[jax.Array]:
    """Return A_s field for each shell, components merged with the last direction."""
    dimension = len(shells[0][0])
    *leading, components = field.shape
    batch, shape = leading[: len(leading) - dimension], leading[-dimension:]
    centered = [[_centered(step, shape) for step in shell] for shell in shells]
    steps = [step for shell in centered for step in shell]
    margins = [max(abs(step[axis]) for step in steps) for axis in range(dimension)]
    strides = [1] * (dimension - 1) + [components]
    sizes = [n * stride for n, stride in zip(shape, strides, strict=True)]
    margins = [m * stride for m, stride in zip(margins, strides, strict=True)]
    padded = _with_margins(jnp.reshape(field, (*batch, *sizes)), margins)

    def shifted(step: tuple[int, ...]) -> jax.Array:
        scaled = [d * stride for d, stride in zip(step, strides, strict=True)]
        starts = [m + d for m, d in zip(margins, scaled, strict=True)]
        ends = [start + n for start, n in zip(starts, sizes, strict=True)]
        zeros = [0] * len(batch)
        return lax.slice(padded, [*zeros, *starts], [*batch, *ends])

    return [_total([shifted(step) for step in shell]) for shell in centered]


def _total(terms: list[jax.Array]) -> jax.Array:
    return sum(terms[1:], start=terms[0])


def _centered(step: tuple[int, ...], shape: Sequence[int]) -> tuple[int, ...]:
    """Return the same displacement on the torus with |d| <= n / 2."""
    return tuple((d + n // 2) % n - n // 2 for d, n in zip(step, shape, strict=True))


def _with_margins(field: jax.Array, margins: Sequence[int]) -> jax.Array:
    """Continue a field periodically on both sides of its last axes."""
    for axis, margin in enumerate(margins, start=field.ndim - len(margins)):
        if margin:
            size = field.shape[axis]
            before = lax.slice_in_dim(field, size - margin, size, axis=axis)
            after = lax.slice_in_dim(field, 0, margin, axis=axis)
            field = lax.concatenate([before, field, after], axis)
    # Otherwise XLA recomputes the margin, with its branches, in every shifted read.
    return lax.optimization_barrier(field)


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
