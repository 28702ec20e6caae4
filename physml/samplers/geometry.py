"""Unit vectors, their tangents and rotations."""

import jax
import jax.numpy as jnp


def dot(left: jax.Array, right: jax.Array) -> jax.Array:
    """Return the products over the last axis, which stays with length 1."""
    return jnp.sum(left * right, axis=-1, keepdims=True)


def unit(vectors: jax.Array) -> jax.Array:
    """Return vectors, shape (..., 3), with the length 1."""
    return vectors / jnp.sqrt(dot(vectors, vectors))


def tangent(spins: jax.Array, vectors: jax.Array) -> jax.Array:
    """Return the part of vectors at right angles to unit spins."""
    return vectors - dot(spins, vectors) * spins


def rotation_matrix(axis: jax.Array, angle: jax.Array) -> jax.Array:
    r"""Return the rotation about a unit axis (Rodrigues).

    .. math:: R = \cos\phi + (1 - \cos\phi)\, n n^T + \sin\phi\, [n]_\times
    """
    identity = jnp.eye(3, dtype=axis.dtype)
    cross = jnp.cross(axis[None, :], identity).T  # columns n x e_i
    around = jnp.outer(axis, axis)
    return jnp.cos(angle) * (identity - around) + around + jnp.sin(angle) * cross
