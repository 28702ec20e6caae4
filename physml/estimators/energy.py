r"""The energy of a wave function and how far it is from an eigenstate.

.. math:: E = \frac{\langle\psi|H|\psi\rangle}{\langle\psi|\psi\rangle}, \qquad
          r = \frac{\|H\psi - E\psi\|}{\|\psi\|}, \qquad
          \langle H^2\rangle - E^2 = r^2 .

The operator H is any callable pytree, `H(psi)`, Hermitian in the plain inner product
:math:`\sum_i \bar\psi_i \phi_i` (the volume element cancels). Wave functions are arrays
of any shape, real or complex, and need not be normalized. Where a communicator is given
they are the blocks of a rank, and the inner products are summed over the ranks.
"""

from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from physml.parallel import SERIAL, Communicator


class Operator(Protocol):
    """A Hermitian linear map that is a pytree."""

    def __call__(self, psi: jax.Array, /) -> jax.Array:
        """Apply to a wave function."""
        ...


class EnergyEstimate(NamedTuple):
    """The energy of a wave function, with its error measures."""

    energy: jax.Array  # Rayleigh quotient
    residual_norm: jax.Array  # |H psi - E psi| / |psi|

    @property
    def variance(self) -> jax.Array:
        """The variance of the energy, <H^2> - <H>^2, the residual norm squared."""
        return self.residual_norm**2


def _inner_product(left: jax.Array, right: jax.Array) -> jax.Array:
    """Return the real part of <left|right>: for a Hermitian form all there is."""
    return jnp.vdot(left, right).real


def rayleigh_quotient(
    operator: Operator, psi: jax.Array, *, communicator: Communicator = SERIAL
) -> jax.Array:
    r"""Return :math:`\langle\psi|H|\psi\rangle / \langle\psi|\psi\rangle`, real.

    Parameters
    ----------
    operator
        A Hermitian operator, a callable pytree.
    psi
        A wave function that is not zero, of any shape.
    communicator
        The ranks over which psi is divided.

    Notes
    -----
    The derivative is written by hand. With the residual
    :math:`\rho = (H\psi - E\psi) / \langle\psi|\psi\rangle`,

    .. math:: dE = 2\,\mathrm{Re}\langle\rho|d\psi\rangle
              + \langle\psi|dH|\psi\rangle / \langle\psi|\psi\rangle ,

    so that a gradient costs one application of H, and no transposed stencil. Both
    arguments are differentiable, in forward and reverse mode.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> matrix = jnp.array([[2.0, 1.0], [1.0, 2.0]])
    >>> operator = jax.tree_util.Partial(jnp.matmul, matrix)
    >>> float(rayleigh_quotient(operator, jnp.array([1.0, 1.0])))
    3.0
    """
    return _quotient(operator, psi, communicator)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def _quotient(
    operator: Operator, psi: jax.Array, communicator: Communicator
) -> jax.Array:
    return _energy_and_norm(psi, operator(psi), communicator)[0]


@_quotient.defjvp
def _quotient_jvp(
    communicator: Communicator,
    primals: tuple[Operator, jax.Array],
    tangents: tuple[Operator, jax.Array],
) -> tuple[jax.Array, jax.Array]:
    operator, psi = primals
    operator_dot, psi_dot = tangents
    h_psi, dh_psi = jax.jvp(lambda h: h(psi), (operator,), (operator_dot,))
    pair = _energy_and_norm(psi, h_psi, communicator)
    energy, norm_squared = communicator.replicate(pair)
    residual = (h_psi - energy.astype(psi.dtype) * psi) / norm_squared.astype(psi.dtype)
    slope = _inner_product(psi, dh_psi) / norm_squared
    change = 2 * _inner_product(residual, psi_dot) + slope
    return pair[0], communicator.sum(change)


def _energy_and_norm(
    psi: jax.Array, h_psi: jax.Array, communicator: Communicator
) -> tuple[jax.Array, jax.Array]:
    """Return <psi|H|psi> / <psi|psi> and <psi|psi>."""
    own = (_inner_product(psi, h_psi), _inner_product(psi, psi))
    product, norm_squared = communicator.sum(own)
    return product / norm_squared, norm_squared


def norm(psi: jax.Array, *, communicator: Communicator = SERIAL) -> jax.Array:
    """Return the norm of a wave function of any shape, real.

    Parameters
    ----------
    psi
        A wave function.
    communicator
        The ranks over which it is divided.
    """
    return jnp.sqrt(communicator.sum(jnp.sum((psi * psi.conj()).real)))


def energy_estimate(
    operator: Operator, psi: jax.Array, *, communicator: Communicator = SERIAL
) -> EnergyEstimate:
    """Return the energy of a wave function and the norm of its residual.

    Parameters
    ----------
    operator
        A Hermitian operator.
    psi
        A wave function that is not zero, of any shape.
    communicator
        The ranks over which psi is divided.

    Returns
    -------
    EnergyEstimate
        Real scalars; NaN for a wave function of zeros.
    """
    psi = psi / norm(psi, communicator=communicator).astype(psi.dtype)
    h_psi = operator(psi)
    energy = communicator.sum(_inner_product(psi, h_psi))
    residual = h_psi - energy.astype(psi.dtype) * psi
    return EnergyEstimate(energy, norm(residual, communicator=communicator))
