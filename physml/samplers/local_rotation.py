r"""Proposal: each spin to a random direction within a cone around it.

Uniform on the cap of half angle :math:`\theta_{max}` around the spin S, area
:math:`4\pi\sin^2(\theta_{max}/2)`. With u uniform in [0, 1) and a random unit vector e
at right angles to S,

.. math:: \mathbf S' = (1 - \delta) \mathbf S + \sqrt{\delta (2 - \delta)}\, \mathbf e ,
          \qquad \delta = 2 u \sin^2(\theta_{max}/2) .

It is symmetric, since the density depends on the angle between S and S' alone; the log
correction is zero. At :math:`\theta_{max} = \pi` the new direction is uniform on the
sphere. It is ergodic for every cone.
"""

import jax
import jax.numpy as jnp

from physml.samplers.geometry import tangent, unit


def cone_rotation(
    key: jax.Array, spins: jax.Array, angle: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return a new direction for each spin, independent of the others.

    Parameters
    ----------
    key
        A random key.
    spins
        Unit vectors, shape (..., 3).
    angle
        The half angle of the cone in radians, a scalar from 0 to pi: the step size.

    Returns
    -------
    The new spins, shape (..., 3), and the log correction of each, shape (...): zero.
    """
    height_key, direction_key = jax.random.split(key)
    uniform = jax.random.uniform(height_key, (*spins.shape[:-1], 1), spins.dtype)
    drop = 2 * jnp.sin(angle / 2) ** 2 * uniform
    noise = jax.random.normal(direction_key, spins.shape, spins.dtype)
    sideways = unit(tangent(spins, noise))
    new_spins = unit((1 - drop) * spins + jnp.sqrt(drop * (2 - drop)) * sideways)
    return new_spins, jnp.zeros(spins.shape[:-1], spins.dtype)
