"""The bath against the exact Green's function of its Hamiltonian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.dynamical_mean_field import (
    Bath,
    matsubara_frequencies,
    semicircular_greens_function,
    weiss_field,
)

Z = 1j * matsubara_frequencies(20.0, 5)


def random_bath(num_sites, *orbitals):
    keys = jax.random.split(jax.random.key(0), 3)
    shape = (num_sites, *orbitals)
    couplings = jax.random.normal(keys[0], shape)
    if orbitals:
        couplings = jax.lax.complex(couplings, jax.random.normal(keys[1], shape))
    return Bath(jax.random.normal(keys[2], (num_sites,)), couplings)


@pytest.mark.parametrize("orbitals", [(), (1,), (3,)])
def test_weiss_field_is_the_resolvent_of_impurity_and_bath(orbitals):
    bath = random_bath(4, *orbitals)
    couplings = np.asarray(bath.couplings).reshape(4, -1)
    n = couplings.shape[1]
    block = [[np.zeros((n, n)), couplings.conj().T], [couplings, np.diag(bath.levels)]]
    matrix = np.block(block)
    exact = np.stack([np.linalg.inv((z + 0.3) * np.eye(n + 4) - matrix) for z in Z])
    shifted = Bath(bath.levels - 0.3, bath.couplings)
    found = jax.jit(
        lambda bath: weiss_field(Z, bath.hybridization(Z), chemical_potential=0.3)
    )(shifted)
    assert found.shape == (5, *orbitals, *orbitals)
    np.testing.assert_allclose(found.reshape(5, n, n), exact[:, :n, :n], rtol=1e-13)


def test_sum_rule_is_the_tail():
    bath = random_bath(3, 2)
    tail = 1e9j * bath.hybridization(jnp.array(1e9j))
    np.testing.assert_allclose(tail, bath.sum_rule, atol=1e-8)
    assert np.linalg.eigvalsh(bath.residues).min() > -1e-14


def test_baths_go_through_vmap_and_gradients():
    baths = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), random_bath(3))
    found = jax.vmap(lambda bath: bath.hybridization(Z))(baths)
    np.testing.assert_allclose(found[0], random_bath(3).hybridization(Z))
    bath = random_bath(3)
    gradient = jax.grad(lambda bath: jnp.sum(bath.hybridization(Z).imag))(bath)
    levels, couplings = map(np.asarray, (bath.levels, bath.couplings))
    slope = 2 * couplings * np.sum((1 / (Z[:, None] - levels)).imag, axis=0)
    np.testing.assert_allclose(gradient.couplings, slope)


def test_semicircle_at_the_first_frequency_and_far_away():
    z = 1j * np.pi / 20
    exact = 2j * (np.pi / 20 - np.sqrt((np.pi / 20) ** 2 + 1))
    assert semicircular_greens_function(z) == pytest.approx(exact, rel=1e-15)
    assert complex(exact) == pytest.approx(-1.71036439j, abs=1e-8)
    far = semicircular_greens_function(jnp.array(2e9j), half_bandwidth=2.0)
    np.testing.assert_allclose(far, 1 / 2e9j, rtol=1e-15)


def test_semicircle_is_its_own_continued_fraction():
    z = jnp.array([0.3j, -1.7 + 0.1j, 2.5 - 0.2j])
    greens = semicircular_greens_function(z, 1.4)
    np.testing.assert_allclose(greens, 1 / (z - 0.7**2 * greens), rtol=1e-14)


@pytest.mark.parametrize("shapes", [((2,), (3,)), ((2,), (2, 1, 1)), ((), ())])
def test_refuses_shapes_that_do_not_belong_together(shapes):
    with pytest.raises(ValueError, match="Expected levels"):
        Bath(*map(jnp.zeros, shapes)).hybridization(Z)


@pytest.mark.parametrize("arguments", [(0.0, 3), (-1.0, 3), (float("nan"), 3), (1, 0)])
def test_refuses_temperatures_and_numbers_that_are_not_positive(arguments):
    with pytest.raises(ValueError, match="Expected"):
        matsubara_frequencies(*arguments)
