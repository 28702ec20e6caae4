r"""Sums of shifted fields with weights that depend on the site.

.. math:: y_i = \sum_d W_{d,i} \, x_{i+d}

is the product of a matrix with few diagonals. A window is a copy of a field with a
margin, which holds what lies beyond the ends: zeros or, on a periodic axis, the other
end. Every shift is then a slice, and XLA adds the slices up in one vectorized loop.
Complex fields are taken apart, since that loop over pairs of real and imaginary parts
is half as fast.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp

from physml.lattices.neighbors import with_margins

Shift = tuple[int, ...]
Weights = Mapping[Shift, jax.Array]  # each of d axes that broadcast to the field's


class Window(NamedTuple):
    """A field with margins, its real and imaginary part; None for a real field."""

    real: jax.Array
    imaginary: jax.Array | None
    margins: tuple[int, ...]


def make_window(
    field: jax.Array, shifts: Iterable[Shift], is_periodic: Sequence[bool]
) -> Window:
    """Copy a field with margins for some shifts.

    Parameters
    ----------
    field
        Shape (..., n_1, ..., n_d), real or complex.
    shifts
        By how much it will be shifted; along a periodic axis at most by its length.
    is_periodic
        Whether an axis is continued as itself, rather than by zeros.
    """
    margins = tuple(max(map(abs, steps)) for steps in zip(*shifts, strict=True))
    if not jnp.iscomplexobj(field):
        return Window(with_margins(field, margins, is_periodic), None, margins)
    real, imaginary = (
        with_margins(part, margins, is_periodic) for part in (field.real, field.imag)
    )
    return Window(real, imaginary, margins)


def shifted_sum(*products: tuple[Weights, Window]) -> jax.Array:
    """Return the sum over all weights of W_(d,i) x_(i+d), x the field of the window.

    Real windows take real weights only.
    """
    real, imaginary = [], []
    for weights, window in products:
        for shift, weight in weights.items():
            one, other = _parts(weight, window, shift)
            real += one
            imaginary += other
    total = reduce(jnp.add, real)
    return jax.lax.complex(total, reduce(jnp.add, imaginary)) if imaginary else total


def _parts(
    weight: jax.Array, window: Window, shift: Shift
) -> tuple[list[jax.Array], list[jax.Array]]:
    """Return the terms of the real and the imaginary part of W x_(i+d)."""
    x = _shifted(window.real, shift, window.margins)
    if window.imaginary is None:
        return [_times(weight, x)], []
    y = _shifted(window.imaginary, shift, window.margins)
    if not jnp.iscomplexobj(weight):
        return [_times(weight, x)], [_times(weight, y)]
    p, q = weight.real, weight.imag
    return [_times(p, x), _times(-q, y)], [_times(p, y), _times(q, x)]


def _shifted(window: jax.Array, shift: Shift, margins: Sequence[int]) -> jax.Array:
    """Return the field at i + d from its copy with margins."""
    batch = window.ndim - len(shift)
    starts = [0] * batch + [m + d for m, d in zip(margins, shift, strict=True)]
    stops = [
        n - m + d for n, m, d in zip(window.shape[batch:], margins, shift, strict=True)
    ]
    return jax.lax.slice(window, starts, [*window.shape[:batch], *stops])


def _times(weight: jax.Array, field: jax.Array) -> jax.Array:
    leading = (1,) * (field.ndim - weight.ndim)
    return weight.astype(field.dtype).reshape(leading + weight.shape) * field


def reversed_weight(weight: jax.Array, shift: Shift) -> jax.Array:
    """Return the weight at i - d in the place of i: that of the shift's way back.

    On an open axis what comes in over the end is multiplied by the zeros of a window.
    """
    moves = {k: d for k, d in enumerate(shift) if d and weight.shape[k] > 1}
    return jnp.roll(weight, tuple(moves.values()), tuple(moves)) if moves else weight
