"""Dynamical mean-field theory on the Bethe lattice against limits and published U."""

import jax.numpy as jnp
import numpy as np
import pytest

from physml.dynamical_mean_field.bath import (
    matsubara_frequencies,
    semicircular_greens_function,
)
from physml.dynamical_mean_field.self_consistency import (
    BetheLattice,
    _iterate,
    insulating_start,
    iterate,
    metallic_start,
    spectral_function,
)

OMEGA = jnp.asarray(matsubara_frequencies(100.0, 128))


def lattice(interaction, half_bandwidth=1.0):
    d = jnp.asarray(half_bandwidth)
    return BetheLattice(jnp.asarray(interaction), OMEGA * half_bandwidth, d)


def metal(interaction, num_sites=3, **options):
    model = lattice(interaction)
    return iterate(model, metallic_start(model, num_sites), **options)


def weight(state):
    return state.quasiparticle_weight(lattice(0.0))


@pytest.mark.slow
def test_without_interaction_the_error_falls_with_the_sites():
    exact = semicircular_greens_function(1j * OMEGA).imag
    errors = []
    for num_sites in (1, 3, 5):
        state = metal(0.0, num_sites)
        errors.append(float(jnp.abs(state.greens_function - exact).max()))
        np.testing.assert_allclose(state.self_energy, 0, atol=1e-9)
        assert state.is_metallic(lattice(0.0))
        np.testing.assert_allclose(weight(state), 1, atol=1e-8)
        np.testing.assert_allclose(state.double_occupancy, 0.25, atol=1e-12)
    assert errors[1] < errors[0] / 2
    assert errors[2] < errors[1] / 2


def test_weak_coupling_is_of_second_order():
    # Z = 1 - a U^2, d = 1/4 - b U: corrections by U and by the frequency are small
    weak, strong = (weight(metal(u)) for u in (0.1, 0.2))
    ratio = (1 - strong) / (1 - weak)
    np.testing.assert_allclose(ratio, 4, rtol=0.05)


def test_the_solution_is_a_fixed_point():
    state = metal(2.0, tolerance=1e-9)
    assert state.change < 1e-9
    other = metal(2.0, tolerance=1e-9, mixing=0.4)
    np.testing.assert_allclose(state.greens_function, other.greens_function, atol=1e-7)
    # the sum rule of G, and its sign at all frequencies
    np.testing.assert_allclose(-OMEGA[-1] * state.greens_function[-1], 1, atol=0.03)
    assert (state.greens_function < 0).all()


def test_energies_have_no_unit():
    one, two = lattice(2.0), lattice(4.0, half_bandwidth=2.0)
    weights = [
        iterate(model, metallic_start(model, 3), tolerance=1e-8).quasiparticle_weight(
            model
        )
        for model in (one, two)
    ]
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-6)


@pytest.mark.slow
def test_both_phases_at_one_interaction_and_the_insulator_ends_near_2_4():
    model = lattice(2.8)
    state = iterate(model, insulating_start(model, 4))
    assert not state.is_metallic(model)
    # of an atom in weak contact: Z = 4 omega^2 / U^2, more as the gap is less than U
    assert 1 < weight(state) * 2.8**2 / (4 * OMEGA[0] ** 2) < 3
    assert metal(2.8).is_metallic(model)
    gone = iterate(lattice(2.3), fresh(state))
    assert gone.is_metallic(model)
    still = iterate(lattice(2.5), fresh(state))
    assert not still.is_metallic(model)


def fresh(state):
    return state._replace(change=jnp.inf, num_iterations=0)


@pytest.mark.slow
def test_the_quasiparticle_weight_falls_to_zero_near_3():
    # linear near the end: Z of two interactions extrapolated; published 2.9 to 3
    first, second = (weight(metal(u, 5)) for u in (2.4, 2.6))
    end = 2.6 + 0.2 * second / (first - second)
    assert 2.85 < end < 3.1


def test_a_peak_below_the_first_frequency_makes_no_metal():
    for interaction, is_metallic in ((2.8, True), (3.2, False)):
        model = lattice(interaction)
        state = iterate(model, metallic_start(model, 3))
        assert state.change < 1e-6
        assert bool(state.is_metallic(model)) is is_metallic
        assert (weight(state) > OMEGA[0]) == is_metallic


@pytest.mark.slow
def test_with_interaction_the_change_falls_with_the_sites():
    one, three, five = (float(weight(metal(2.0, n))) for n in (1, 3, 5))
    assert abs(five - three) < abs(three - one) / 2
    assert 0.25 < five < 0.32  # at T = 0 published figures lie between these


def test_strong_coupling_approaches_the_atom():
    errors = []
    for interaction in (10.0, 20.0):
        model = lattice(interaction)
        state = iterate(model, insulating_start(model, 2))
        atom = -1 / (OMEGA + interaction**2 / 4 / OMEGA)
        errors.append(float(jnp.abs(state.greens_function / atom - 1).max()))
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.1)  # (D / U)^2


@pytest.mark.parametrize("interaction", [0.0, 2.0])
def test_spectra_are_positive_and_hold_one_state(interaction):
    model = lattice(interaction)
    state = iterate(model, metallic_start(model, 3))
    energies = jnp.linspace(-8, 8, 3001)
    spectrum = spectral_function(model, state, energies, 0.1)
    assert (spectrum > 0).all()
    np.testing.assert_allclose(spectrum, spectrum[::-1], atol=1e-8)
    np.testing.assert_allclose(jnp.trapezoid(spectrum, energies), 1, atol=0.02)
    if interaction == 0:
        np.testing.assert_allclose(
            spectrum,
            -semicircular_greens_function(energies + 0.1j).imag / np.pi,
            atol=1e-8,
        )


def test_pieces_give_the_same_and_nothing_is_compiled_again():
    model = lattice(1.5)
    start = metallic_start(model, 3)
    whole = iterate(model, start)
    piece = start
    before = _iterate._cache_size()
    for end in (2, 5, 500):
        piece = iterate(model, piece, max_iterations=end)
    iterate(lattice(1.7), whole)
    assert _iterate._cache_size() == before
    np.testing.assert_array_equal(piece.hybridization, whole.hybridization)
    assert piece.num_iterations == whole.num_iterations


def test_the_limit_and_nan_end_the_loop():
    assert metal(2.0, max_iterations=3).num_iterations == 3
    state = metal(jnp.nan)
    assert state.num_iterations == 1
    assert jnp.isnan(state.change)


@pytest.mark.parametrize(
    ("interaction", "num_sites", "words"),
    [(2.0, 3, "an even number of sites"), (0.0, 2, "U > 0")],
)
def test_there_is_no_such_insulator(interaction, num_sites, words):
    with pytest.raises(ValueError, match=words):
        insulating_start(lattice(interaction), num_sites)
