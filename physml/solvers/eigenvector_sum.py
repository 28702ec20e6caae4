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

The change of a Hermitian H sees the Hermitian part of this alone, which has the real
part of phi for phi. With :math:`R_{mn} = \sum_i \bar q_{im} q_{in}
\operatorname{Re} \phi_i(\lambda_n)` the numerator of M is then :math:`R - R^\dagger`:
five products of n x n matrices, real ones for a real H, however many z there are. The
difference is taken where delta is at least eps^(1/5) of the distance from the levels to
the nearest z, the series below: both then err by about eps^(4/5).
"""

import jax
import jax.numpy as jnp
import numpy as np

from physml.operators import LinearOperator
from physml.solvers.diagonal_resolvent import DiagonalResolvent
from physml.solvers.eigenpairs import Eigenpairs
from physml.solvers.shifted_elements import ShiftedElements, direct_elements
from physml.solvers.vector_rows import row_elements

PROBES = 8  # random vectors for the residuals of all levels


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
        :math:`r_m = \|H q_m - \lambda_m q_m\|` from a few random vectors.
    """
    matrix = operator(jnp.eye(operator.size, dtype=operator.dtype)).T
    dtype = np.result_type(matrix.dtype, z.dtype, np.complex64)
    z = z.astype(dtype)
    return DiagonalResolvent(*_sum(matrix, z))


@jax.jit
def dense_elements(
    operator: LinearOperator,
    shifts: jax.Array,
    columns: jax.Array,
    rows: jax.Array | None = None,
    *,
    tolerance: float | jax.Array = 1e-10,
    max_iterations: int | jax.Array,
) -> ShiftedElements:
    """Return <u|(z - H)^-1|b> for all shifts, rows and columns, by diagonalizing H.

    Parameters
    ----------
    operator, shifts, columns, rows, tolerance
        As for `physml.solvers.reduced_shifted_krylov`.
    max_iterations
        Not used.

    Returns
    -------
    The elements. Residuals are estimated as for `dense_diagonal_resolvent`.
    """
    del max_iterations
    (levels, vectors), errors = _diagonalized(operator)
    right = columns.astype(vectors.dtype) @ vectors.conj()  # <q|b>, (..., n)
    left = right.conj()[..., None, :]
    if rows is not None:
        left = row_elements(rows, vectors.T).T  # <u|q>, (m, n)
        left = jnp.expand_dims(left, tuple(range(columns.ndim - 1)))
    inverse = _inverse_distances(shifts, levels)
    weights = left.astype(inverse.dtype) * right[..., None, :].astype(inverse.dtype)
    value = jnp.tensordot(inverse, weights, (1, -1))  # (num_z, ..., m)
    squares = jnp.abs(inverse) ** 2 * errors[None]
    squares = (jnp.abs(right) ** 2) @ squares.T  # (..., num_z)
    norm = jnp.linalg.norm(columns, axis=-1)[..., None]
    residual = jnp.sqrt(squares) / jnp.where(norm > 0, norm, 1)
    is_finite = jnp.all(jnp.isfinite(levels))
    return direct_elements(jnp.moveaxis(value, 0, -2), residual, tolerance, is_finite)


def _diagonalized(operator: LinearOperator) -> tuple[Eigenpairs, jax.Array]:
    """Return the spectrum, and |H q_m - lambda_m q_m|^2 of each level."""
    matrix = operator(jnp.eye(operator.size, dtype=operator.dtype)).T
    spectrum = Eigenpairs(*jnp.linalg.eigh(matrix))
    return spectrum, _squared_errors(matrix, spectrum)


Arrays = tuple[jax.Array, jax.Array]


@jax.custom_vjp
def _sum(matrix: jax.Array, z: jax.Array) -> Arrays:
    return _sum_forward(matrix, z)[0]


def _sum_forward(
    matrix: jax.Array, z: jax.Array
) -> tuple[Arrays, tuple[Eigenpairs, jax.Array]]:
    spectrum = Eigenpairs(*jnp.linalg.eigh(matrix))
    levels, vectors = spectrum
    weights = jnp.abs(vectors).T ** 2  # (n, n): level, site
    inverse = _inverse_distances(z, levels)
    values = jax.lax.complex(inverse.real @ weights, inverse.imag @ weights)
    squares = _squared_errors(matrix, spectrum)[None] * jnp.abs(inverse) ** 2
    return (values, jnp.sqrt(squares @ weights)), (spectrum, z)


def _sum_backward(
    saved: tuple[Eigenpairs, jax.Array], cotangents: Arrays
) -> tuple[jax.Array, jax.Array]:
    (levels, vectors), z = saved
    cotangent, _ = cotangents  # of the values; (num_z, n)
    inverse = _inverse_distances(z, levels)
    middle = _middle(levels, vectors, inverse, cotangent)
    # Q (Q M)^+ twice; out of a loop no product is fused, and made by slow loops, with
    # what an operator sums up of it
    product = jax.lax.fori_loop(
        0, 2, lambda _, product: (vectors @ product).conj().T, middle
    )
    weights = jnp.abs(vectors) ** 2
    of_levels = cotangent @ weights.astype(z.dtype)  # (num_z, n)
    return product.T, -jnp.sum(inverse**2 * of_levels, axis=1)


def _middle(
    levels: jax.Array, vectors: jax.Array, inverse: jax.Array, cotangent: jax.Array
) -> jax.Array:
    """Return the M of the Hermitian part, shape (n, n)."""

    def summed(derivative: jax.Array) -> jax.Array:
        """Return R, of phi or one of its derivatives."""
        phi = (cotangent.T @ derivative).real  # (n, n): site, level
        return vectors.conj().T @ (vectors * phi.astype(vectors.dtype))

    value, first, third = (summed(x) for x in (inverse, inverse**2, 6 * inverse**4))
    step = levels[None, :] - levels[:, None]
    distance = 1 / jnp.max(jnp.abs(inverse))
    is_far = jnp.abs(step) > jnp.finfo(step.dtype).eps ** 0.2 * distance
    size = jnp.where(is_far, step, 1).astype(vectors.dtype)
    quotient = (value - value.conj().T) / size
    square = (step**2 / 24).astype(vectors.dtype)
    near = (first + first.conj().T) / 2 - square * (third + third.conj().T)
    return jnp.where(is_far, quotient, near)


_sum.defvjp(_sum_forward, _sum_backward)


def _squared_errors(matrix: jax.Array, spectrum: Eigenpairs) -> jax.Array:
    """Estimate |H q_m - lambda_m q_m|^2 of each level, without an n^3 product.

    With signs w at random the mean of |w^T e|^2 is |e|^2.
    """
    levels, vectors = spectrum
    shape = (PROBES, matrix.shape[0])
    probes = jax.random.rademacher(jax.random.key(0), shape, matrix.dtype)
    errors = (probes @ matrix) @ vectors
    errors = errors - (probes @ vectors) * levels[None].astype(vectors.dtype)
    return jnp.mean(jnp.abs(errors) ** 2, axis=0)


def _inverse_distances(z: jax.Array, levels: jax.Array) -> jax.Array:
    """Return 1 / (z - lambda_m), shape (num_z, n)."""
    return 1 / (z[:, None] - levels[None].astype(z.dtype))
