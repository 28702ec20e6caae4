r"""The pullback of resolvent elements by the identity dG = G dH G.

With the full solutions :math:`x = (z - H)^{-1} b` and, since H is Hermitian,
:math:`y = ((z - H)^{-1})^T u^* = ((z^* - H)^{-1} u)^*`,

.. math:: d \langle u|(z - H)^{-1}|b\rangle = y^T (dH - dz) x + y^T db + du^* x .

Holds whatever became of the orthogonality of Lanczos vectors, and costs the work of all
n elements for each shift and step. Solutions are held for a block of shifts at a time.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from physml.operators.floating_leaves import Leaves
from physml.solvers.resolvent_pullback import Cotangents, PullbackProblem, cast

BLOCK = 8  # shifts whose solutions are held at a time


def pull_by_solutions(problem: PullbackProblem) -> Cotangents:
    """Return the derivatives of resolvent elements from full solutions."""
    missing = -len(problem.shifts) % BLOCK
    shifts = jnp.concatenate([problem.shifts, jnp.repeat(problem.shifts[-1:], missing)])
    padding = ((0, 0), (0, missing), (0, 0))
    cotangent = jnp.moveaxis(jnp.pad(problem.cotangent, padding), 1, 0)
    blocks = (
        shifts.reshape(-1, BLOCK),
        cotangent.reshape(-1, BLOCK, *cotangent.shape[1:]),
    )
    dtype = problem.columns.dtype
    zero = Cotangents(
        problem.floating_leaves.zeros(),
        jnp.zeros_like(problem.columns),
        problem.no_rows() if problem.rows is not None else jnp.zeros((), dtype),
    )

    def add(total: Cotangents, block: tuple) -> tuple[Cotangents, None]:
        z, g = block
        part = problem._replace(shifts=z, cotangent=jnp.moveaxis(g, 0, 1))
        return jax.tree.map(jnp.add, total, _pull_block(part)), None

    return jax.lax.scan(add, zero, blocks)[0]


def _pull_block(problem: PullbackProblem) -> Cotangents:
    """Return the share of a few shifts."""
    solve = partial(problem.elements, rows=jnp.arange(problem.operator.size))
    x = solve(problem.shifts, problem.columns).value  # (columns, shifts, n)
    y = _weighted_rows(problem, x, solve)
    leaves = _pull_to_leaves(problem, x, y)
    num_columns, num_shifts, size = x.shape
    weights = problem.cotangent.reshape(num_columns * num_shifts, -1)
    spread = problem if problem.rows is not None else _for_each_shift(problem)
    rows = spread.row_cotangent(weights, x.reshape(-1, size))
    columns = cast(jnp.sum(y, 1), problem.columns.dtype)
    if problem.rows is None:
        rows = jnp.sum(rows.reshape(x.shape), 1)
    return problem.cotangents(leaves, columns, rows)


def _pull_to_leaves(problem: PullbackProblem, x: jax.Array, y: jax.Array) -> Leaves:
    """Return the cotangents of the leaves in Re sum y^T H x."""
    if problem.is_real:  # H meets real vectors alone
        x, y = jnp.stack([x.real, x.imag]), jnp.stack([y.real, -y.imag])
    _, pull = problem.floating_leaves.apply_and_pull(x)
    return pull(y)


def _for_each_shift(problem: PullbackProblem) -> PullbackProblem:
    repeated = jnp.repeat(problem.columns, len(problem.shifts), axis=0)
    return problem._replace(columns=repeated)


def _weighted_rows(
    problem: PullbackProblem, solutions: jax.Array, solve: partial
) -> jax.Array:
    """Return sum_m g_m ((z - H)^-1)^T u_m^*, shape (num_columns, num_shifts, n)."""
    weights = problem.cotangent  # (columns, shifts, m)
    if problem.rows is None and problem.is_real:
        return weights * solutions
    if problem.rows is None:
        return weights * solve(problem.shifts.conj(), problem.columns).value.conj()

    def add(total: jax.Array, row: Any) -> tuple[jax.Array, None]:
        u, weight = row  # (n,), (columns, shifts)
        y = solve(problem.shifts.conj(), u).value.conj()  # (shifts, n)
        return total + weight[..., None] * y[None], None

    vectors = problem.rows
    if problem.has_sites:
        vectors = jax.nn.one_hot(vectors, problem.operator.size)
    vectors = vectors.astype(problem.columns.dtype)
    pairs: Any = vectors, jnp.moveaxis(weights, -1, 0)
    return jax.lax.scan(add, jnp.zeros_like(solutions), pairs)[0]
