r"""The lowest level and state of a Hermitian operator, compiled: Lanczos with restarts.

A cycle builds an orthonormal basis of the Krylov space of the best state so far, each
vector orthogonalized against all others, and takes the lowest Ritz pair of

.. math:: T_{kl} = \langle v_k|H|v_l\rangle ,

a tridiagonal matrix. The next cycle starts from its vector. A cycle of m steps lowers
the error about as :math:`e^{-2 m \sqrt{\gamma}}`, with gamma the gap above the level
divided by the width of the spectrum.

Source: B. N. Parlett, The Symmetric Eigenvalue Problem (1998), chapter 13.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.operators.linear_operator import LinearOperator
from physml.solvers.subspace import project_out

ROUNDING_LEVEL = 100.0  # a next vector below this times eps |H v| is rounding alone


class LowestState(NamedTuple):
    """A level, its state, and how good they are."""

    energy: jax.Array  # ()
    vector: jax.Array  # of norm 1, (n,)
    residual_norm: jax.Array  # |H v - E v|, ()
    is_converged: jax.Array  # ()
    num_cycles: jax.Array  # ()


class _Basis(NamedTuple):
    """Lanczos vectors as rows, those to come are zero, and the elements of T."""

    vectors: jax.Array  # (m, n)
    diagonal: jax.Array  # (m,)
    coupling: jax.Array  # T_k,k+1, (m,)
    next_vector: jax.Array  # zero where the Krylov space is exhausted, (n,)


def lowest_state(
    operator: LinearOperator,
    start: jax.Array,
    *,
    basis_size: int = 30,
    max_cycles: int = 400,
    tolerance: float | None = None,
) -> LowestState:
    """Return the lowest level of H among the states that the start vector has parts of.

    Parameters
    ----------
    operator
        H, Hermitian, of size n.
    start
        Not zero, shape (n,); a random one has a part of every state. What H leaves zero
        stays zero, to the last bit.
    basis_size
        Vectors of a cycle, m.
    max_cycles
        After which it ends, converged or not.
    tolerance
        Of the residual norm, in units of the largest Ritz value in size; by default
        eps^(3/4), 2e-12 in float64. The level errs by the square of the residual
        divided by the gap, the state by the residual divided by the gap.

    Returns
    -------
    LowestState
        Of a degenerate level one state, which depends on the start. Works inside of
        jit and vmap; has no derivative.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from physml.operators import as_operator
    >>> dimer = as_operator(jnp.array([[0.0, -1.0], [-1.0, 0.0]]))
    >>> round(float(lowest_state(dimer, jnp.array([1.0, 0.5])).energy), 6)
    -1.0
    """
    dtype = np.result_type(operator.dtype, start.dtype)
    eps = float(jnp.finfo(dtype).eps)
    relative = eps**0.75 if tolerance is None else tolerance
    cycle = partial(_cycle, operator, min(basis_size, operator.size), relative)

    def goes_on(state: LowestState) -> jax.Array:
        # NaN ends it, too
        is_off = (state.residual_norm > 0) & ~state.is_converged
        return is_off & (state.num_cycles < max_cycles)

    vector = start.astype(dtype) / jnp.linalg.norm(start).astype(dtype)
    unknown = jnp.full_like(vector.real[0], jnp.inf)
    never = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
    first = LowestState(unknown, vector, unknown, *never)
    return jax.lax.while_loop(goes_on, cycle, first)


def _cycle(
    operator: LinearOperator, size: int, tolerance: float, state: LowestState
) -> LowestState:
    basis = _krylov_basis(operator, size, state.vector)
    ritz, vector = _lowest_ritz_pair(basis)
    product = operator(vector)
    energy = jnp.sum((vector.conj() * product).real)
    residual = jnp.linalg.norm(product - energy.astype(vector.dtype) * vector)
    is_converged = residual <= tolerance * jnp.abs(ritz).max()
    return LowestState(energy, vector, residual, is_converged, state.num_cycles + 1)


def _krylov_basis(operator: LinearOperator, size: int, start: jax.Array) -> _Basis:
    zeros = jnp.zeros(size, start.real.dtype)
    empty = jnp.zeros((size, start.size), start.dtype)
    step = partial(_lanczos_step, operator)
    return jax.lax.fori_loop(0, size, step, _Basis(empty, zeros, zeros, start))


def _lanczos_step(operator: LinearOperator, k: jax.Array, basis: _Basis) -> _Basis:
    v = basis.next_vector
    vectors = basis.vectors.at[k].set(v)
    product = operator(v)
    a = jnp.sum((v.conj() * product).real)
    rest = project_out(vectors, product)
    b = jnp.linalg.norm(rest)
    rounding = ROUNDING_LEVEL * jnp.finfo(b.dtype).eps * jnp.linalg.norm(product)
    goes_on = ~(b <= rounding)  # NaN goes on and is seen
    b = jnp.where(goes_on, b, jnp.zeros_like(b))
    inverse = jnp.where(goes_on, 1 / jnp.where(goes_on, b, jnp.ones_like(b)), b)
    return _Basis(
        vectors,
        basis.diagonal.at[k].set(a),
        basis.coupling.at[k].set(b),
        rest * inverse.astype(rest.dtype),
    )


def _lowest_ritz_pair(basis: _Basis) -> tuple[jax.Array, jax.Array]:
    """Return all Ritz values, ascending, and the vector of the lowest."""
    exists = jnp.any(basis.vectors != 0, axis=1)
    coupling = basis.coupling[:-1]
    above = jnp.max(basis.diagonal) + 2 * jnp.max(basis.coupling)  # all Ritz values
    diagonal = jnp.where(exists, basis.diagonal, above)
    matrix = jnp.diag(diagonal) + jnp.diag(coupling, 1) + jnp.diag(coupling, -1)
    ritz, columns = jnp.linalg.eigh(matrix)
    vector = columns[:, 0].astype(basis.vectors.dtype) @ basis.vectors
    norm = jnp.linalg.norm(vector)
    return ritz, vector / norm.astype(vector.dtype)
