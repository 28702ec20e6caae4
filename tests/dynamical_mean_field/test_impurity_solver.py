"""The impurity against exact limits and the dense Fock space."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fock_oracle import DenseImpurity

from physml.dynamical_mean_field.bath import Bath
from physml.dynamical_mean_field.impurity import (
    AndersonImpurity,
    half_filled_impurity,
)
from physml.dynamical_mean_field.impurity_solver import solve_impurity
from physml.failures import RunFailure

# one set for all: programs are shared
Z = jnp.array([0.03j, 0.3j, 3j, 1e4j, -0.3j, -0.7 + 0.1j, 2 - 0.2j])


def make_bath(levels, couplings):
    return Bath(jnp.asarray(levels, float), jnp.asarray(couplings, float))


SYMMETRIC = make_bath([-0.5, 0.0, 0.5], [0.3, 0.2, 0.3])


@pytest.mark.parametrize(
    ("interaction", "level", "levels", "couplings"),
    [
        (2.0, -1.0, [0.0], [0.5]),  # a singlet
        (2.0, -1.0, [-0.4, 0.4], [0.3, 0.3]),  # a doublet: two ground states
        (2.0, -1.3, [-0.4, 0.7], [0.3, 0.5]),
        (1.0, 0.4, [-0.4, 0.7], [0.3, 0.5]),
        (-1.0, 0.1, [-0.2, 0.3], [0.4, 0.5]),  # attraction
        (2.0, -1.0, [-0.5, 0.5], [0.0, 0.0]),  # an atom beside sites
        (0.0, 0.0, [-0.4, 0.4], [0.3, 0.3]),  # a level at zero: four ground states
        (3.0, 0.0, [], []),  # an atom with one electron or none
    ],
)
def test_dense_fock_space(interaction, level, levels, couplings):
    dense = DenseImpurity(interaction, level, levels, couplings)
    bath = make_bath(levels, couplings)
    impurity = AndersonImpurity(jnp.asarray(interaction), jnp.asarray(level), bath)
    found = solve_impurity(impurity, Z)
    np.testing.assert_allclose(found.energy, dense.energies[0], atol=1e-12)
    expected = dense.greens_function(np.asarray(Z))
    np.testing.assert_allclose(found.greens_function, expected, atol=1e-11)
    occupation = dense.mean(dense.numbers[0] + dense.numbers[1])
    np.testing.assert_allclose(found.occupation, occupation, atol=1e-11)
    both = dense.mean(dense.numbers[0] @ dense.numbers[1])
    np.testing.assert_allclose(found.double_occupancy, both, atol=1e-11)


def test_without_interaction():
    bath = make_bath([-0.9, 0.2, 1.1], [0.3, 0.4, 0.5])
    impurity = AndersonImpurity(jnp.asarray(0.0), jnp.asarray(0.1), bath)
    found = solve_impurity(impurity, Z)
    expected = 1 / (Z - 0.1 - bath.hybridization(Z))
    np.testing.assert_allclose(found.greens_function, expected, rtol=1e-12)
    sigma = impurity.self_energy(Z, found.greens_function)
    np.testing.assert_allclose(sigma, 0, atol=1e-11)


def test_atomic_limit():
    found = solve_impurity(half_filled_impurity(2.0, make_bath([], [])), Z)
    expected = 0.5 / (Z - 1) + 0.5 / (Z + 1)
    np.testing.assert_allclose(found.greens_function, expected, rtol=1e-14)
    assert found.double_occupancy == 0


@pytest.mark.parametrize("is_all", [False, True])
def test_particle_hole_symmetry_and_sum_rules(is_all):
    number = None if is_all else 4
    impurity = half_filled_impurity(2.5, SYMMETRIC)
    found = solve_impurity(impurity, Z, num_electrons=number)
    g = found.greens_function
    np.testing.assert_allclose(g[:5].real, 0, atol=1e-14)
    np.testing.assert_allclose(found.occupation, 1, atol=1e-13)
    np.testing.assert_allclose(g[4], -g[1], rtol=1e-12)
    # G = 1 / z + (e_d + U n / 2) / z^2 + (V^2 + U^2 / 4) / z^3, the second one zero
    third = (g[3] * 1e4j - 1) * (1e4j) ** 2
    expected = float(SYMMETRIC.sum_rule) + 2.5**2 / 4
    np.testing.assert_allclose(third, expected, rtol=1e-6)


def test_number_of_electrons_of_the_symmetric_bath_is_half_of_all():
    found = solve_impurity(half_filled_impurity(2.5, SYMMETRIC), Z)
    np.testing.assert_array_equal(found.sector_weights, np.eye(9)[4])


def test_states_of_a_similar_impurity_lead_to_the_same():
    other = half_filled_impurity(2.0, make_bath([-0.4, 0.0, 0.4], [0.4, 0.1, 0.4]))
    states = solve_impurity(other, Z, num_electrons=4).states
    impurity = half_filled_impurity(2.5, SYMMETRIC)
    random = solve_impurity(impurity, Z, num_electrons=4)
    found = solve_impurity(impurity, Z, num_electrons=4, states=states)
    np.testing.assert_allclose(found.energy, random.energy, rtol=1e-13)
    np.testing.assert_allclose(found.greens_function, random.greens_function)
    again = solve_impurity(impurity, Z, num_electrons=4, states=found.states)
    np.testing.assert_allclose(again.states, found.states, atol=1e-10)


def test_phases_of_couplings_play_no_role():
    phases = jnp.exp(1j * jnp.array([0.3, 2.0, -1.0]))
    turned = Bath(SYMMETRIC.levels, SYMMETRIC.couplings * phases)
    pair = [
        solve_impurity(half_filled_impurity(2.0, bath), Z, num_electrons=4)
        for bath in (SYMMETRIC, turned)
    ]
    np.testing.assert_allclose(pair[0].greens_function, pair[1].greens_function)


def test_vmap_and_no_second_compilation():
    interactions = jnp.array([0.5, 1.0, 2.0])

    def one_of(u):
        return solve_impurity(half_filled_impurity(u, SYMMETRIC), Z, num_electrons=4)

    solve = jax.jit(jax.vmap(one_of))
    found = solve(interactions)
    assert found.converged.all()
    for u, g in zip(interactions, found.greens_function, strict=True):
        one = one_of(u)
        np.testing.assert_allclose(g, one.greens_function, rtol=1e-11)
    solve(2 * interactions)
    assert solve._cache_size() == 1


BAD = [
    ({"z": jnp.array([1.0])}, "off the real axis"),
    ({"z": jnp.array(1j)}, "off the real axis"),
    ({"z": jnp.array([jnp.nan * 1j])}, "off the real axis"),
    ({"num_electrons": 9}, "0 to 8 electrons"),
    ({"num_electrons": -1}, "0 to 8 electrons"),
    ({"states": jnp.ones((2, 36))}, r"states of shape \(9, 36\)"),
    ({"interaction": jnp.nan}, "U without NaN"),
    ({"bath": Bath(jnp.zeros(3), jnp.zeros((3, 2)))}, "one orbital"),
    ({"bath": Bath(jnp.zeros(12), jnp.zeros(12))}, "1 to 12 orbitals"),
]


@pytest.mark.parametrize(("changes", "words"), BAD, ids=lambda x: str(x)[:20])
def test_bad_input(changes, words):
    given = {"z": Z, "interaction": 2.0, "bath": SYMMETRIC} | changes
    impurity = half_filled_impurity(given.pop("interaction"), given.pop("bath"))
    with pytest.raises(ValueError, match=words):
        solve_impurity(impurity, given.pop("z"), **given)


def test_no_convergence_is_told():
    impurity = half_filled_impurity(2.0, SYMMETRIC)
    with pytest.raises(RunFailure, match="has not converged"):
        solve_impurity(impurity, Z, tolerance=1e-300)
