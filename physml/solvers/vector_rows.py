"""Overlaps and multiples of vectors that are rows, real or complex.

A real number times a complex vector, and the real part of an overlap, are made of real
products: half of the work of complex ones.
"""

import jax
import jax.numpy as jnp
import numpy as np


def real_overlaps(left: jax.Array, right: jax.Array) -> jax.Array:
    """Return Re <left_i|right_i> of each row, (...) from (..., n)."""
    if jnp.iscomplexobj(left):
        return jnp.sum(left.real * right.real + left.imag * right.imag, axis=-1)
    return jnp.sum(left * right, axis=-1)


def norms_squared(vectors: jax.Array) -> jax.Array:
    """Return the square of the norm of each row."""
    return real_overlaps(vectors, vectors)


def scaled_rows(vectors: jax.Array, factors: jax.Array) -> jax.Array:
    """Multiply each row, (..., n), by its real number, (...)."""
    factors = factors[..., None]
    if jnp.iscomplexobj(vectors):
        return jax.lax.complex(vectors.real * factors, vectors.imag * factors)
    return vectors * factors


def row_elements(rows: jax.Array, vectors: jax.Array) -> jax.Array:
    """Return <u_m|v> of sites, (m,), or vectors u, (m, n); shape (..., m)."""
    if jnp.issubdtype(rows.dtype, jnp.integer):
        return vectors[..., rows]
    dtype = np.promote_types(rows.dtype, vectors.dtype)
    return vectors.astype(dtype) @ rows.conj().T.astype(dtype)
