r"""The combination of given functions that has the lowest energy, for training them.

Functions :math:`\phi_k` with parameters :math:`\theta`, and
:math:`\psi = \sum_k c_k \phi_k`. Minimizing

.. math:: L(c, \theta) = \frac{\langle\psi|H|\psi\rangle + \tau |c|^2}
                              {\langle\psi|\psi\rangle}

over c is an eigenvalue problem. At its solution :math:`\partial L/\partial c = 0`, so
the gradient with respect to :math:`\theta` is taken at fixed c (variable projection:
Golub and Pereyra, SIAM J. Numer. Anal. 10, 413 (1973); in quantum mechanics the
Hellmann-Feynman theorem).

The functions may be linearly dependent to rounding. The term with :math:`\tau` keeps
the coefficients, and with them the rounding errors of :math:`\psi`, from growing
without bound; it is smooth in :math:`\theta`, where dropping small singular values
would make L jump. With the singular values s_k of the functions, components with
:math:`s_k < \epsilon^{2/3} s_1` are suppressed.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from physml.estimators.energy import rayleigh_quotient
from physml.parallel import SERIAL, Communicator
from physml.solvers.subspace import orthogonal_triangular, overlaps


def lowest_combination(
    operator: Callable[[jax.Array], jax.Array],
    functions: jax.Array,
    *,
    communicator: Communicator = SERIAL,
) -> tuple[jax.Array, jax.Array]:
    r"""Return the coefficients of the combination of lowest energy.

    Parameters
    ----------
    operator
        A Hermitian operator.
    functions
        Shape (num_functions, ...), not all zero, fewer functions than points.
    communicator
        The ranks over which the points are divided.

    Returns
    -------
    The coefficients c, shape (num_functions,), and the penalty :math:`\tau`.
    """
    rows = functions.reshape(functions.shape[0], -1)
    # rows^T = Q R, R = U diag(s) W^H: the left singular vectors of the tall matrix
    q, r = orthogonal_triangular(rows.T, communicator=communicator)
    u, s, w_h = jnp.linalg.svd(r)
    basis = (q @ u).T.reshape(functions.shape)  # orthonormal rows
    matrix = overlaps(basis, jax.vmap(operator)(basis), communicator=communicator)
    epsilon = jnp.finfo(s.dtype).eps
    s = jnp.maximum(s, epsilon * s[0])
    scale = jnp.trace(matrix).real / matrix.shape[0]
    tau = epsilon ** (4 / 3) * jnp.abs(scale) * s[0] ** 2
    hermitian = 0.5 * (matrix + matrix.conj().T)
    penalized = hermitian + jnp.diag((tau / s**2).astype(matrix.dtype))
    lowest = jnp.linalg.eigh(penalized)[1][:, 0]
    return w_h.conj().T @ (lowest / s.astype(matrix.dtype)), tau


def combination_energy(
    operator: Callable[[jax.Array], jax.Array],
    functions: jax.Array,
    *,
    communicator: Communicator = SERIAL,
) -> jax.Array:
    """Return L at its minimum over the coefficients; differentiable.

    Parameters
    ----------
    operator
        A Hermitian operator, a callable pytree.
    functions
        Shape (num_functions, ...).
    communicator
        The ranks over which the points are divided.
    """
    fixed = jax.lax.stop_gradient((operator, functions))
    coefficients, tau = lowest_combination(*fixed, communicator=communicator)
    psi = jnp.tensordot(coefficients, functions, axes=1)
    weight = tau * jnp.vdot(coefficients, coefficients).real
    norm_squared = communicator.sum(jnp.vdot(psi, psi).real)
    energy = rayleigh_quotient(operator, psi, communicator=communicator)
    return energy + weight / norm_squared
