r"""Order of unit spins on a periodic lattice.

.. math::
    |\mathbf m| = \frac{1}{n} \Big| \sum_i \mathbf S_i \Big| , \qquad
    |\mathbf m_\mathrm{st}| = \frac{1}{n} \Big| \sum_i (-1)^{m_1 + \ldots + m_d} \,
    \mathbf S_i \Big| ,

with the integer coordinates :math:`m` of a site.
"""

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected
from physml.lattices import BravaisLattice


def magnetization(spins: jax.Array, lattice: BravaisLattice) -> jax.Array:
    """Return the length of the mean spin, from 0 to 1.

    Parameters
    ----------
    spins
        Shape (..., n_1, ..., n_d, 3).
    lattice
        Of shape (n_1, ..., n_d).

    Returns
    -------
    jax.Array
        Shape (...).
    """
    return jnp.linalg.norm(jnp.mean(spins, axis=_site_axes(lattice)), axis=-1)


def staggered_magnetization(spins: jax.Array, lattice: BravaisLattice) -> jax.Array:
    """Return the length of the mean spin with opposite signs on two sublattices.

    Parameters
    ----------
    spins
        Shape (..., n_1, ..., n_d, 3).
    lattice
        One on which `has_two_sublattices`.

    Returns
    -------
    jax.Array
        Shape (...).

    Raises
    ------
    ValueError
        If nearest neighbors can't be told apart by a sign.
    """
    if not has_two_sublattices(lattice):
        raise expected(
            "a lattice of two sublattices",
            f"one of shape {lattice.shape}",
            "take a square or cubic lattice of even numbers of sites",
        )
    steps = np.indices(lattice.shape).sum(axis=0)
    signs = jnp.asarray(1 - 2 * (steps % 2), spins.dtype)[..., None]
    signs = jnp.broadcast_to(signs, spins.shape)
    return magnetization(spins * signs, lattice)


def has_two_sublattices(lattice: BravaisLattice) -> bool:
    """Tell whether nearest neighbors are all of opposite parity, m_1 + ... + m_d.

    Steps are the shortest ones; numbers of sites must be even, so that this holds
    around the periodic ends, too.
    """
    if any(number % 2 == 1 for number in lattice.shape):
        return False
    (nearest,) = lattice.shells(1)
    return all(sum(step) % 2 == 1 for step in nearest.displacements)


def _site_axes(lattice: BravaisLattice) -> tuple[int, ...]:
    return tuple(range(-1 - lattice.dimension, -1))
