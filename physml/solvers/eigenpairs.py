r"""Levels and states of dense Hermitian matrices, with a pullback of their own.

To first order a change dH moves levels and states, :math:`H q_m = \lambda_m q_m`, by

.. math:: d\lambda_m = \langle q_m | dH | q_m \rangle, \qquad
          dq_n = \sum_{\lambda_m \ne \lambda_n} q_m
                 \frac{\langle q_m | dH | q_n \rangle}{\lambda_n - \lambda_m} .

Let f be a real function, l_m its derivative with respect to the levels and the columns
of P that with respect to the states, :math:`df = l \cdot d\lambda + \mathrm{Re\, tr}\,
P^\dagger dQ`. Inserted, and symmetrized since dH is Hermitian, :math:`df = \mathrm{Re\,
tr}\, G^\dagger dH` with

.. math:: G = Q \left[ \mathrm{diag}(l) + \tfrac12
              \frac{K_{mn}}{\lambda_n - \lambda_m} \right] Q^\dagger, \qquad
          K = Q^\dagger P - P^\dagger Q .

States of one level may be rotated among themselves, a single one by its phase. f has a
derivative only if it does not see that, and then K_mn = 0 and l_m = l_n for all m, n of
one level, m = n included. Where this holds the quotient 0/0 is left out; where it does
not, the derivative is refused. Both are decided to eps^(2/3), of the largest level and
of the largest element of K's two terms.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from physml.failures import expected
from physml.tracing import is_traced


class Eigenpairs(NamedTuple):
    """Eigenvalues, ascending, and eigenvectors as columns."""

    levels: jax.Array  # (..., n), real
    vectors: jax.Array  # (..., n, n)


def eigenpairs(matrix: jax.Array) -> Eigenpairs:
    """Return all eigenvalues and eigenvectors of a Hermitian matrix.

    Parameters
    ----------
    matrix
        Real symmetric or complex Hermitian, shape (..., n, n); the Hermitian part is
        taken of another one. Differentiable in reverse mode.

    Returns
    -------
    Eigenpairs
        NaN where the matrix is not finite.

    Raises
    ------
    ValueError
        In the pullback, if the function has no derivative: it sees the phase of a
        state, or tells states of one level apart. Inside of jit and vmap the
        cotangent is NaN instead.

    Notes
    -----
    The pullback takes four products of n x n matrices. Functions of whole levels have
    a derivative also where levels are degenerate: a sum over all states of a level,
    weighted equally. The weights must be numbers: between states of one level the
    derivative of a weight that depends on the level (a Fermi function) is not known
    here. If only levels are needed, `eigenvalues` is cheaper.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> weight = lambda v: (eigenpairs(jnp.diag(jnp.array([v, 0.0]))
    ...     - 0.5 * jnp.eye(2)[::-1]).vectors[0, 0] ** 2)
    >>> round(float(jax.grad(weight)(0.0)), 6)  # of a level of two sites, -1 / 2
    -0.5
    """
    return _eigenpairs((matrix + jnp.swapaxes(matrix, -1, -2).conj()) / 2)


@jax.custom_vjp
def _eigenpairs(matrix: jax.Array) -> Eigenpairs:
    return Eigenpairs(*jnp.linalg.eigh(matrix, symmetrize_input=False))


def _forward(matrix: jax.Array) -> tuple[Eigenpairs, Eigenpairs]:
    pairs = _eigenpairs(matrix)
    return pairs, pairs


def _backward(pairs: Eigenpairs, cotangents: Eigenpairs) -> tuple[jax.Array]:
    levels, vectors = pairs
    projected = _adjoint(vectors) @ cotangents.vectors.conj()  # Q^+ P
    antihermitian = projected - _adjoint(projected)  # K
    gap = levels[..., None, :] - levels[..., :, None]  # lambda_n - lambda_m
    is_same = jnp.abs(gap) <= _rounding(levels)[..., None]
    is_refused = _tells_apart(is_same, projected, antihermitian, cotangents.levels)
    _refuse(is_refused)
    quotient = antihermitian / jnp.where(is_same, 1, gap).astype(vectors.dtype)
    middle = _diagonal(cotangents.levels.astype(vectors.dtype))
    middle += jnp.where(is_same, 0, quotient) / 2
    gradient = vectors @ middle @ _adjoint(vectors)
    nan = jnp.asarray(jnp.nan, gradient.dtype)
    return (jnp.where(is_refused[..., None, None], nan, gradient.conj()),)


_eigenpairs.defvjp(_forward, _backward)


_diagonal = jnp.vectorize(jnp.diag, signature="(n)->(n,n)")


def _tells_apart(
    is_same: jax.Array,
    projected: jax.Array,
    antihermitian: jax.Array,
    of_levels: jax.Array,
) -> jax.Array:
    """Tell whether a function sees how the states of one level are chosen."""
    difference = jnp.abs(of_levels[..., None, :] - of_levels[..., :, None])
    sees_states = jnp.abs(antihermitian) > _rounding(projected, axes=2)[..., None]
    sees_levels = difference > _rounding(of_levels)[..., None]
    return jnp.any(is_same & (sees_states | sees_levels), axis=(-2, -1))


def _rounding(values: jax.Array, axes: int = 1) -> jax.Array:
    """Return eps^(2/3) of the largest value, with a last axis of one."""
    eps = float(jnp.finfo(values.dtype).eps)
    largest = jnp.max(jnp.abs(values), axis=tuple(range(-axes, 0)))
    return eps ** (2 / 3) * largest[..., None]


def _refuse(is_refused: jax.Array) -> None:
    if not is_traced(is_refused) and bool(jnp.any(is_refused)):
        raise expected(
            "a function of whole levels, to differentiate eigenvectors",
            "one that sees the phase of a state or tells states of one level apart",
            "sum with equal weights over the states of a degenerate level, or take "
            "densities |psi|^2 instead of psi",
        )


def _adjoint(matrix: jax.Array) -> jax.Array:
    return jnp.swapaxes(matrix, -1, -2).conj()
