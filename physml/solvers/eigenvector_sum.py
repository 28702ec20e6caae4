r"""Diagonal elements of a resolvent as a sum over all eigenvectors.

.. math:: G_{ii}(z) = \sum_m \frac{|q_{im}|^2}{z - \lambda_m}

The derivative does not differentiate eigenvectors, so degenerate levels are no trouble.
With cotangents c of G, the resolvent identity :math:`dG = G \, dH \, G` gives

.. math:: \bar H^T = \sum_e G(z_e) \, \mathrm{diag}(c_e) \, G(z_e) = Q M Q^\dagger ,
          \qquad M_{mn} = \sum_i \bar q_{im} q_{in} \, \phi_i[\lambda_m, \lambda_n] ,

where :math:`\phi_i(\lambda) = \sum_e c_{ei} / (z_e - \lambda)` and

.. math:: \phi[a, b] = \sum_e \frac{c_e}{(z_e - a)(z_e - b)}
          = \frac{\phi(a) - \phi(b)}{a - b}
          = \tfrac12 (\phi'_a + \phi'_b) - \tfrac{\delta^2}{24} (\phi'''_a + \phi'''_b)
          + O(\delta^4), \quad \delta = b - a .

The sum over z is inside of phi: three products of n x n matrices instead of one for
each z. The difference is taken where delta is at least eps^(1/5) of the distance from
the levels to the nearest z, the series below: both then err by about eps^(4/5).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.operators import LinearOperator
from physml.solvers.diagonal_resolvent import DiagonalResolvent


class Spectrum(NamedTuple):
    """Eigenvalues, ascending, and eigenvectors as columns."""

    levels: jax.Array  # (n,)
    vectors: jax.Array  # (n, n)


@jax.jit
def dense_diagonal_resolvent(
    operator: LinearOperator, z: jax.Array
) -> DiagonalResolvent:
    r"""Return G_ii(z) for all sites i by diagonalizing H, O(n^3 + n^2 num_z).

    Parameters
    ----------
    operator
        A Hermitian operator of shape (n, n). Differentiable in reverse mode.
    z
        Not among the eigenvalues, shape (num_z,).

    Returns
    -------
    DiagonalResolvent
        The residual is an estimate of that of column i,
        :math:`(\sum_m r_m^2 |q_{im}|^2 / |z - \lambda_m|^2)^{1/2}` with
        :math:`r_m = \|H q_m - \lambda_m q_m\|`.
    """
    matrix = operator(jnp.eye(operator.size, dtype=operator.dtype)).T
    dtype = np.result_type(matrix.dtype, z.dtype, np.complex64)
    z = z.astype(dtype)
    return DiagonalResolvent(*_sum(matrix, z))


Arrays = tuple[jax.Array, jax.Array]


@jax.custom_vjp
def _sum(matrix: jax.Array, z: jax.Array) -> Arrays:
    return _sum_forward(matrix, z)[0]


def _sum_forward(
    matrix: jax.Array, z: jax.Array
) -> tuple[Arrays, tuple[Spectrum, jax.Array]]:
    spectrum = Spectrum(*jnp.linalg.eigh(matrix))
    levels, vectors = spectrum
    weights = jnp.abs(vectors).T ** 2  # (n, n): level, site
    inverse = _inverse_distances(z, levels)
    values = jax.lax.complex(inverse.real @ weights, inverse.imag @ weights)
    errors = matrix @ vectors - vectors * levels[None].astype(vectors.dtype)
    squares = jnp.sum(jnp.abs(errors) ** 2, axis=0)[None] * jnp.abs(inverse) ** 2
    return (values, jnp.sqrt(squares @ weights)), (spectrum, z)


def _sum_backward(
    saved: tuple[Spectrum, jax.Array], cotangents: Arrays
) -> tuple[jax.Array, jax.Array]:
    (levels, vectors), z = saved
    cotangent, _ = cotangents  # of the values; (num_z, n)
    inverse = _inverse_distances(z, levels)
    columns = vectors.astype(z.dtype)
    middle = _middle(levels, columns, inverse, cotangent)
    product = columns @ middle @ columns.conj().T
    product = 0.5 * (product + product.conj().T)  # eigh takes the Hermitian part
    matrix = product.T if jnp.iscomplexobj(vectors) else product.T.real
    weights = jnp.abs(columns) ** 2
    of_levels = cotangent @ weights.astype(z.dtype)  # (num_z, n)
    return matrix, -jnp.sum(inverse**2 * of_levels, axis=1)


def _middle(
    levels: jax.Array, columns: jax.Array, inverse: jax.Array, cotangent: jax.Array
) -> jax.Array:
    """Return M, shape (n, n)."""
    derivatives = {0: inverse, 1: inverse**2, 3: 6 * inverse**4}
    left, right = {}, {}  # sums over sites of phi at the level m, and at n
    for order, derivative in derivatives.items():
        phi = cotangent.T @ derivative  # (n, n): site, level
        left[order] = (columns.conj() * phi).T @ columns
        right[order] = columns.conj().T @ (columns * phi)
    step = levels[None, :] - levels[:, None]
    distance = 1 / jnp.max(jnp.abs(inverse))
    is_far = jnp.abs(step) > jnp.finfo(step.dtype).eps ** 0.2 * distance
    size = jnp.where(is_far, step, 1).astype(inverse.dtype)
    quotient = (right[0] - left[0]) / size
    square = (step**2 / 24).astype(inverse.dtype)
    near = (left[1] + right[1]) / 2 - square * (left[3] + right[3])
    return jnp.where(is_far, quotient, near)


_sum.defvjp(_sum_forward, _sum_backward)


def _inverse_distances(z: jax.Array, levels: jax.Array) -> jax.Array:
    """Return 1 / (z - lambda_m), shape (num_z, n)."""
    return 1 / (z[:, None] - levels[None].astype(z.dtype))
