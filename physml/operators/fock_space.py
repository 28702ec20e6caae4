r"""Fermions in a few orbitals: Slater determinants as bits, operators as matrices.

Bit p of a determinant says whether orbital p is occupied, and

.. math:: |n_0 n_1 \ldots\rangle = (c_0^\dagger)^{n_0} (c_1^\dagger)^{n_1} \cdots
          |\rangle ,

so that :math:`c_p` has the sign of the number of particles in orbitals below p. What is
made here is stacked over the number of particles N = 0, ..., m, and each N is padded
with zeros to `width`, the most determinants that one N has: a program compiled for m
orbitals then serves every number of particles.
"""

from functools import lru_cache
from math import comb
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected

MAX_ORBITALS = 12  # 924 determinants with 6 particles


class _Moves(NamedTuple):
    """All elements of all c_p^+ c_q between determinants, in one axis."""

    num_particles: np.ndarray
    row: np.ndarray
    column: np.ndarray
    created: np.ndarray  # p
    annihilated: np.ndarray  # q
    sign: np.ndarray


@lru_cache
def determinants(num_orbitals: int) -> tuple[np.ndarray, ...]:
    """Return the determinants of each number of particles, ascending as numbers.

    Raises
    ------
    ValueError
        For no orbitals, or more than `MAX_ORBITALS`.

    Examples
    --------
    >>> [states.tolist() for states in determinants(2)]
    [[0], [1, 2], [3]]
    """
    if not 0 < num_orbitals <= MAX_ORBITALS:
        raise expected(f"1 to {MAX_ORBITALS} orbitals", num_orbitals, "take fewer")
    states = np.arange(2**num_orbitals)
    count = np.bitwise_count(states)
    return tuple(states[count == n] for n in range(num_orbitals + 1))


def width(num_orbitals: int) -> int:
    """Return the most determinants that a number of particles has."""
    return comb(num_orbitals, num_orbitals // 2)


def occupations(num_orbitals: int, orbital: int) -> np.ndarray:
    """Return n_p of each determinant, 0 or 1, shape (m + 1, width)."""
    occupied = np.zeros((num_orbitals + 1, width(num_orbitals)))
    for n, states in enumerate(determinants(num_orbitals)):
        occupied[n, : len(states)] = states >> orbital & 1
    return occupied


def annihilators(num_orbitals: int, orbital: int) -> np.ndarray:
    """Return c_p from N to N - 1 particles, shape (m + 1, width, width).

    The matrix of N = 0 is zero. Transposed, that of N creates from N - 1.
    """
    size = width(num_orbitals)
    matrices = np.zeros((num_orbitals + 1, size, size))
    states = determinants(num_orbitals)
    for n in range(1, num_orbitals + 1):
        for column, state in enumerate(states[n]):
            if state >> orbital & 1:
                row = np.searchsorted(states[n - 1], state ^ 1 << orbital)
                matrices[n, row, column] = _sign(state, orbital)
    return matrices


def second_quantized(matrix: jax.Array) -> jax.Array:
    r"""Return :math:`\sum_{pq} h_{pq} c_p^\dagger c_q` for each number of particles.

    Parameters
    ----------
    matrix
        h, shape (m, m). Differentiable.

    Returns
    -------
    jax.Array
        Shape (m + 1, width, width).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> second_quantized(jnp.array([[1.0, 0.5], [0.5, 2.0]]))[1:].tolist()
    [[[1.0, 0.5], [0.5, 2.0]], [[3.0, 0.0], [0.0, 0.0]]]
    """
    size = width(len(matrix))
    moves = _moves(len(matrix))
    signs = jnp.asarray(moves.sign, matrix.dtype)
    elements = signs * matrix[moves.created, moves.annihilated]
    place = moves.num_particles, moves.row, moves.column
    empty = jnp.zeros((len(matrix) + 1, size, size), matrix.dtype)
    return empty.at[place].add(elements)


@lru_cache
def _moves(num_orbitals: int) -> _Moves:
    found = []
    for n, states in enumerate(determinants(num_orbitals)):
        for column, state in enumerate(states):
            for created, annihilated in np.ndindex(num_orbitals, num_orbitals):
                left = state ^ 1 << annihilated
                if not state >> annihilated & 1 or left >> created & 1:
                    continue
                row = np.searchsorted(states, left | 1 << created)
                sign = _sign(state, annihilated) * _sign(left, created)
                found.append((n, row, column, created, annihilated, sign))
    # int32 with and without float64: the same process may switch
    return _Moves(*np.array(found, np.int32).T)


def _sign(state: int, orbital: int) -> int:
    """Return the sign of c_p, the parity of the particles in orbitals below p."""
    below = int(state) & (1 << orbital) - 1
    return -1 if below.bit_count() % 2 else 1
