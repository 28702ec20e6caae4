r"""Proposal: all spins turned by the same random rotation.

A uniform axis n and an angle uniform in :math:`[-\phi_{max}, \phi_{max}]`: the reverse
rotation is as likely, so the proposal is symmetric. Not ergodic by itself, since angles
between spins stay: mix it with local moves (`Cycle`). Always accepted where the density
has the full rotation symmetry, and then it changes no energy: of use for densities
with a field or an anisotropy.
"""

import jax
import jax.numpy as jnp

from physml.samplers.geometry import rotation_matrix, unit


def global_rotation(
    key: jax.Array, spins: jax.Array, angle: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return all spins rotated together.

    Parameters
    ----------
    key
        A random key.
    spins
        Unit vectors, shape (..., 3).
    angle
        The largest angle in radians, a scalar from 0 to pi: the step size.

    Returns
    -------
    The new spins, and the log correction, a scalar: zero.
    """
    axis_key, angle_key = jax.random.split(key)
    axis = unit(jax.random.normal(axis_key, (3,), spins.dtype))
    turn = angle * jax.random.uniform(angle_key, (), spins.dtype, -1.0, 1.0)
    matrix = rotation_matrix(axis, turn)
    new_spins = jnp.einsum("...j,ij->...i", spins, matrix)
    return unit(new_spins), jnp.zeros((), spins.dtype)
