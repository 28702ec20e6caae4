"""Elements of vectors that are asked for: at sites, or against other vectors."""

import jax
import jax.numpy as jnp


def elements(rows: jax.Array, vectors: jax.Array) -> jax.Array:
    """Return <u_m|v>, or the elements of v at sites, shape (..., m).

    Parameters
    ----------
    rows
        Numbers of sites (m,), of an integer dtype, or vectors (m, n).
    vectors
        Shape (..., n).
    """
    if jnp.issubdtype(rows.dtype, jnp.integer):
        return vectors[..., rows]
    dtype = jnp.promote_types(rows.dtype, vectors.dtype)
    return vectors.astype(dtype) @ rows.conj().astype(dtype).T


def combine(rows: jax.Array, coefficients: jax.Array, size: int) -> jax.Array:
    """Return sum_m c_m u_m, the adjoint of `elements`; coefficients of shape (m,)."""
    if jnp.issubdtype(rows.dtype, jnp.integer):
        return jnp.zeros(size, coefficients.dtype).at[rows].add(coefficients)
    dtype = jnp.promote_types(rows.dtype, coefficients.dtype)
    return coefficients.astype(dtype) @ rows.astype(dtype)
