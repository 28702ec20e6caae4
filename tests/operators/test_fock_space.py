"""Fermions as bits: anticommutation, and energies of free particles."""

from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.operators.fock_space import (
    annihilators,
    determinants,
    occupations,
    second_quantized,
    width,
)


def full(matrices, num_orbitals):
    """Put the blocks N to N - 1 into one matrix of the whole Fock space."""
    states = determinants(num_orbitals)
    whole = np.zeros((2**num_orbitals, 2**num_orbitals))
    for n in range(1, num_orbitals + 1):
        block = matrices[n][: len(states[n - 1]), : len(states[n])]
        whole[np.ix_(states[n - 1], states[n])] = block
    return whole


def test_annihilators_anticommute():
    c = [full(annihilators(4, p), 4) for p in range(4)]
    for p in range(4):
        for q in range(4):
            np.testing.assert_array_equal(c[p] @ c[q] + c[q] @ c[p], 0)
            mixed = c[p] @ c[q].T + c[q].T @ c[p]
            np.testing.assert_array_equal(mixed, (p == q) * np.eye(16))


@pytest.mark.parametrize("dtype", [float, complex])
def test_second_quantized_is_the_sum_of_products(dtype):
    rng = np.random.default_rng(0)
    h = rng.normal(size=(4, 4)).astype(dtype)
    if dtype is complex:
        h = h + 1j * rng.normal(size=(4, 4))
    c = [full(annihilators(4, p), 4) for p in range(4)]
    whole = sum(h[p, q] * c[p].T @ c[q] for p in range(4) for q in range(4))
    made = jax.jit(second_quantized)(jnp.asarray(h))
    for n, states in enumerate(determinants(4)):
        size = len(states)
        expected = whole[np.ix_(states, states)]
        np.testing.assert_allclose(made[n, :size, :size], expected, atol=1e-14)
        np.testing.assert_array_equal(made[n, size:], 0)
        np.testing.assert_array_equal(made[n, :, size:], 0)


def test_levels_of_free_particles_are_sums():
    h = np.random.default_rng(1).normal(size=(6, 6))
    h = h + h.T
    levels = np.linalg.eigvalsh(h)
    made = np.linalg.eigvalsh(second_quantized(jnp.asarray(h))[3])
    sums = sorted(sum(chosen) for chosen in combinations(levels, 3))
    assert width(6) == len(sums) == 20
    np.testing.assert_allclose(made, sums, atol=1e-12)


def test_occupations_are_numbers_of_particles():
    numbers = sum(occupations(5, p) for p in range(5))
    for n, states in enumerate(determinants(5)):
        np.testing.assert_array_equal(numbers[n, : len(states)], n)


def test_it_is_linear_in_the_matrix():
    h = jnp.asarray(np.random.default_rng(2).normal(size=(3, 3)))
    slope = jax.grad(lambda h: jnp.trace(second_quantized(h)[2]))(h)
    np.testing.assert_allclose(slope, 2 * np.eye(3))  # each orbital in 2 of 3 states


@pytest.mark.parametrize("number", [0, 13])
def test_impossible_numbers_of_orbitals(number):
    with pytest.raises(ValueError, match="1 to 12 orbitals"):
        determinants(number)
