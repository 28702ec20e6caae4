"""Baths followed to the minimum nearby: their own hybridization, the best of all."""

from dataclasses import replace
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.dynamical_mean_field import BetheLattice, fit_bath, matsubara_frequencies
from physml.dynamical_mean_field.bath_form import BathParameters
from physml.dynamical_mean_field.bath_problem import bath_problem
from physml.dynamical_mean_field.nearby_minimum import Steps, follow_minimum
from physml.dynamical_mean_field.self_consistency import iterate, metallic_start

OMEGA = matsubara_frequencies(20.0, 40)
FLAT = np.ones_like(OMEGA)


def hidden(shape):
    """Return free numbers of 3 symmetric sites, couplings of some shape."""
    couplings = jax.random.uniform(jax.random.key(1), shape, minval=0.3, maxval=0.7)
    return BathParameters(jnp.array([0.6]), couplings)


@pytest.mark.parametrize("num_orbitals", [1, 2])
def test_finds_a_bath_from_its_own_hybridization(num_orbitals):
    shape = (40, num_orbitals, num_orbitals)
    any_target = np.broadcast_to(np.eye(num_orbitals), shape)
    problem = bath_problem(OMEGA, any_target, 3, particle_hole_symmetric=True)
    bath = hidden((2, num_orbitals, 1))

    @jax.jit  # the target is known only inside
    def follow_hidden(bath):
        delta = problem.bath(bath).hybridization(problem.z)
        given = replace(problem, hybridization=delta)
        return follow_minimum(given, jax.tree.map(lambda x: 1.1 * x, bath))

    found = follow_hidden(bath)
    np.testing.assert_allclose(found.levels, bath.levels, rtol=1e-11)
    np.testing.assert_allclose(found.couplings, bath.couplings, rtol=1e-11)


@pytest.mark.parametrize("steps", get_args(Steps))
def test_the_derivative_of_a_hidden_bath_by_itself_is_one(steps):
    problem = bath_problem(OMEGA, -1j * FLAT, 3, particle_hole_symmetric=True)
    bath = hidden((2, 1, 1))

    def followed(bath):
        delta = problem.bath(bath).hybridization(problem.z)
        start = hidden((2, 1, 1))
        return follow_minimum(replace(problem, hybridization=delta), start, steps)

    for jacobian in (jax.jacfwd, jax.jacrev):
        matrix = jax.jit(jacobian(followed))(bath)
        np.testing.assert_allclose(matrix.levels.levels, [[1]], rtol=1e-9)
        np.testing.assert_allclose(
            matrix.couplings.couplings.reshape(2, 2), np.eye(2), atol=1e-9
        )
        np.testing.assert_allclose(matrix.levels.couplings, 0, atol=1e-9)
        np.testing.assert_allclose(matrix.couplings.levels, 0, atol=1e-9)


def test_another_power_is_refused():
    problem = bath_problem(OMEGA, -1j * FLAT, 3, power=1.0)
    start = BathParameters(jnp.zeros(3), jnp.zeros((3, 1, 1)))
    with pytest.raises(ValueError, match="power 2"):
        follow_minimum(problem, start)


@pytest.mark.slow
@pytest.mark.parametrize(("interaction", "num_sites"), [(0.0, 6), (2.6, 5)])
def test_the_mean_fields_bath_is_the_best_of_all(interaction, num_sites):
    omega = jnp.asarray(matsubara_frequencies(100.0, 128))
    model = BetheLattice(jnp.asarray(interaction), omega, jnp.asarray(1.0))
    state = iterate(model, metallic_start(model, num_sites), tolerance=1e-9)
    options = {"weights": "inverse_frequency", "particle_hole_symmetric": True}
    delta = 1j * np.asarray(state.hybridization)
    best = fit_bath(omega, delta, num_sites, **options)
    np.testing.assert_allclose(state.bath.levels, best.bath.levels, atol=1e-5)
    np.testing.assert_allclose(state.bath.couplings, best.bath.couplings, atol=1e-5)
