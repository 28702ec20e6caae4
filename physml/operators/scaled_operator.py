"""A Hermitian matrix in another unit of energy, without rounding."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from physml.operators.linear_operator import LinearOperator
from physml.pytrees import register_dataclass


@register_dataclass
@dataclass(frozen=True)
class ScaledOperator:
    """2^e H: a power of two changes no digit.

    Parameters
    ----------
    operator
        H.
    exponent
        e, an integer, shape (): not a leaf that is differentiated.
    """

    operator: LinearOperator
    exponent: jax.Array

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.operator.size

    @property
    def dtype(self) -> Any:
        """That of the elements."""
        return self.operator.dtype

    def __call__(self, vectors: jax.Array, /) -> jax.Array:
        """Return 2^e H v for each vector, shape (..., n)."""
        return times_power_of_two(self.operator(vectors), self.exponent)


def times_power_of_two(values: jax.Array, exponent: jax.Array) -> jax.Array:
    """Return 2^e x, real or complex."""
    factor = jnp.ldexp(jnp.ones((), values.real.dtype), exponent)
    if jnp.iscomplexobj(values):
        return jax.lax.complex(values.real * factor, values.imag * factor)
    return values * factor


def exponent_of(operator: LinearOperator, otherwise: jax.Array) -> jax.Array:
    """Return e, so that elements of H are about 2^e, from one product; works under jit.

    Parameters
    ----------
    operator
        H.
    otherwise
        A real number, shape (), that stands for an H of zeros.
    """
    vector = jnp.cos(jnp.arange(operator.size, dtype=otherwise.dtype))
    largest = jnp.max(jnp.abs(operator(vector.astype(operator.dtype))))
    largest = largest.astype(otherwise.dtype)
    size = jax.lax.stop_gradient(jnp.where(largest > 0, largest, otherwise))
    return size_exponent(size)


def size_exponent(size: jax.Array) -> jax.Array:
    """Return e, so that positive numbers are about 2^e; 1 for others."""
    limit = jnp.finfo(size.dtype).maxexp - 4  # 2^-e is a normal number, too
    exponent = jnp.frexp(jnp.where(jnp.isfinite(size) & (size > 0), size, 1))[1]
    return jnp.clip(exponent, -limit, limit).astype(np.int32)
