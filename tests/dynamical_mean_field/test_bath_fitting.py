"""Fits of baths: own hybridizations, the semicircle, constraints, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from physml.dynamical_mean_field import (
    Bath,
    fit_bath,
    matsubara_frequencies,
    semicircular_greens_function,
    weiss_field,
)
from physml.dynamical_mean_field.bath_problem import bath_problem
from physml.parallel import ShardedCommunicator

FREQUENCIES = matsubara_frequencies(20.0, 56)
Z = 1j * FREQUENCIES
SEMICIRCLE = np.asarray(semicircular_greens_function(jnp.asarray(Z)))
KEY = jax.random.key(4)


def hidden_bath(num_sites, *orbitals, is_complex=False):
    keys = jax.random.split(jax.random.fold_in(KEY, num_sites), 3)
    levels = jnp.linspace(-1, 1, num_sites)
    levels = levels + jax.random.uniform(keys[0], (num_sites,), maxval=0.1)
    shape = (num_sites, *orbitals)
    couplings = jax.random.uniform(keys[1], shape, minval=0.2, maxval=0.7)
    if is_complex:
        couplings = jax.lax.complex(couplings, jax.random.normal(keys[2], shape))
    return Bath(levels, couplings)


@pytest.mark.slow
@pytest.mark.parametrize("num_sites", range(2, 8))
def test_finds_a_bath_from_its_own_hybridization(num_sites):
    hidden = hidden_bath(num_sites)
    fit = fit_bath(FREQUENCIES, hidden.hybridization(Z), num_sites)
    assert fit.max_error < 1e-12
    assert fit.starts_at_best == 20
    assert fit.warnings == ()
    # what the data say about a bath: errors are the rounding times the condition
    tolerance = 1e-14 * 30.0 ** (num_sites - 2)
    np.testing.assert_allclose(fit.bath.levels, hidden.levels, atol=tolerance)
    np.testing.assert_allclose(fit.bath.couplings, hidden.couplings, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_sites", "error"),
    [
        (4, 1.2988e-3),
        (5, 8.08e-5),
        (6, 2.9852e-6),
        (7, 8.13e-8),
        (8, 2.204e-9),
        (9, 4.03e-11),
        (10, 1e-12),
        (11, 5e-14),
        (12, 5e-15),
    ],
)
def test_semicircle_from_every_start(num_sites, error):
    fit = fit_bath(FREQUENCIES, SEMICIRCLE, num_sites)
    assert fit.starts_at_best == 20
    if num_sites < 10:  # from there on rounding has its part
        assert fit.max_error == pytest.approx(error, rel=1e-3)
    assert fit.max_error < 1.001 * error
    assert float(fit.bath.couplings.min()) > 0.1
    np.testing.assert_allclose(fit.bath.levels, -fit.bath.levels[::-1], atol=1e-2)
    np.testing.assert_allclose(float(fit.bath.sum_rule), 1, atol=10 * error)


def test_particle_hole_symmetry_is_exact():
    fit = fit_bath(FREQUENCIES, SEMICIRCLE, 5, particle_hole_symmetric=True)
    levels, couplings = map(np.asarray, (fit.bath.levels, fit.bath.couplings))
    assert np.array_equal(levels, -levels[::-1])
    assert levels[2] == 0
    assert np.array_equal(couplings, couplings[::-1])
    assert fit.max_error == pytest.approx(8.08e-5, rel=1e-3)
    free = fit_bath(FREQUENCIES, SEMICIRCLE, 5)
    assert fit.distance == pytest.approx(free.distance, rel=1e-6)


def test_sum_rule_is_exact_and_costs_distance():
    fit = fit_bath(FREQUENCIES, SEMICIRCLE, 4, sum_rule=1.0)
    free = fit_bath(FREQUENCIES, SEMICIRCLE, 4)
    assert float(fit.bath.sum_rule) == pytest.approx(1, abs=1e-14)
    assert abs(float(free.bath.sum_rule) - 1) > 1e-3
    assert free.distance < fit.distance < 2 * free.distance


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["one", "inverse_number", "inverse_frequency"])
@pytest.mark.parametrize("fitted", ["hybridization", "weiss_field"])
def test_ends_in_a_minimum_of_its_own_distance(fitted, weights):
    """SciPy's least squares with all parameters finds nothing lower from there."""
    fit = fit_bath(FREQUENCIES, SEMICIRCLE, 3, fitted=fitted, weights=weights)
    of_name = {
        "one": np.ones(56),
        "inverse_number": 1 / np.arange(1, 57),
        "inverse_frequency": 1 / FREQUENCIES,
    }[weights]

    def function(hybridization):
        if fitted == "hybridization":
            return hybridization
        return np.asarray(weiss_field(jnp.asarray(Z), jnp.asarray(hybridization)))

    def residuals(x):
        found = (x[3:] ** 2 / (Z[:, None] - x[:3])).sum(axis=1)
        r = np.sqrt(of_name / of_name.sum()) * (function(SEMICIRCLE) - function(found))
        return np.concatenate([r.real, r.imag])

    start = np.concatenate([fit.bath.levels, fit.bath.couplings])
    assert np.linalg.norm(residuals(start)) == pytest.approx(fit.distance, rel=1e-10)
    best = scipy.optimize.least_squares(
        residuals, start, method="lm", xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    assert np.sqrt(2 * best.cost) > fit.distance * (1 - 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("power", [1.0, 4.0])
def test_other_powers_lower_their_own_distance(power):
    with jax.numpy_dtype_promotion("standard"):  # Optax mixes dtypes
        fit = fit_bath(FREQUENCIES, SEMICIRCLE, 3, power=power, num_starts=3)
    squares = fit_bath(FREQUENCIES, SEMICIRCLE, 3)
    error = np.abs(squares.bath.hybridization(Z) - SEMICIRCLE)
    assert fit.distance < 0.99 * np.mean(error**power) ** (1 / power)
    if power > 2:
        assert fit.max_error < squares.max_error


def test_distance_of_a_high_power_does_not_underflow():
    hidden = hidden_bath(3)
    problem = bath_problem(FREQUENCIES, hidden.hybridization(Z), 3, power=30.0)
    moved = Bath(hidden.levels + 1e-12, hidden.couplings[:, None])
    deviations = moved.hybridization(jnp.asarray(Z))[:, 0, 0] - hidden.hybridization(Z)
    largest = float(jnp.abs(deviations).max())
    mean = np.mean((np.abs(deviations) / largest) ** 30.0)
    parameters = problem.form.parameters(moved.levels, moved.couplings)
    distance = float(problem.distance(parameters))
    assert distance == pytest.approx(largest * mean ** (1 / 30), rel=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("is_complex", [False, True])
def test_several_orbitals_find_a_bath_of_rank_one_residues(is_complex):
    hidden = hidden_bath(4, 2, is_complex=is_complex)
    fit = fit_bath(FREQUENCIES, hidden.hybridization(Z), 4, num_starts=6)
    assert fit.max_error < 1e-12
    np.testing.assert_allclose(fit.bath.levels, hidden.levels, atol=1e-10)
    np.testing.assert_allclose(fit.bath.residues, hidden.residues, atol=1e-10)
    assert jnp.iscomplexobj(fit.bath.couplings) is is_complex


@pytest.mark.slow
def test_two_equal_orbitals_share_the_sites():
    both = SEMICIRCLE[:, None, None] * np.eye(2)
    options = {"particle_hole_symmetric": True, "sum_rule": np.eye(2)}
    fit = fit_bath(FREQUENCIES, both, 8, **options)
    np.testing.assert_allclose(fit.bath.sum_rule, np.eye(2), atol=1e-13)
    single = fit_bath(FREQUENCIES, SEMICIRCLE, 4, sum_rule=1.0)
    assert fit.distance == pytest.approx(np.sqrt(2) * single.distance, rel=1e-6)


def test_negative_squared_couplings_are_not_taken():
    poles = Bath(jnp.array([-0.8, 0.1, 0.6]), jnp.ones(3))
    weights = jnp.array([0.5, -0.02, 0.4], complex)  # not a physical hybridization
    bad = 1 / (Z[:, None] - np.asarray(poles.levels)) @ np.asarray(weights)
    fit = fit_bath(FREQUENCIES, bad, 3)
    two = fit_bath(FREQUENCIES, bad, 2)
    assert (np.asarray(fit.bath.residues) >= 0).all()
    assert 1e-4 < fit.distance <= two.distance * (1 + 1e-9)


def test_warns_of_sites_that_do_nothing():
    hidden = hidden_bath(2)
    fit = fit_bath(FREQUENCIES, hidden.hybridization(Z), 4)
    assert fit.max_error < 1e-12
    assert any("take fewer sites" in sentence for sentence in fit.warnings)


def start(num_sites=3, num_orbitals=None, num_starts=1, levels=None):
    """Return stacked baths far from any that is fitted here."""
    spread = jnp.linspace(-1, 1, num_sites) if levels is None else jnp.asarray(levels)
    orbitals = () if num_orbitals is None else (num_orbitals,)
    couplings = 0.5 * jnp.ones((num_starts, num_sites, *orbitals))
    return Bath(jnp.tile(spread, (num_starts, 1)), couplings)


def test_exact_bath_as_start_comes_back_at_once():
    hidden = hidden_bath(3)
    options = {"starts": hidden, "num_steps": 1}
    fit = fit_bath(FREQUENCIES, hidden.hybridization(Z), 3, **options)
    assert fit.max_error < 1e-14
    assert fit.distances.shape == (1,)
    np.testing.assert_allclose(fit.bath.levels, hidden.levels, atol=1e-13)
    np.testing.assert_allclose(fit.bath.couplings, hidden.couplings, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"fitted": "weiss_field"}, {"particle_hole_symmetric": True}, {"sum_rule": 1.0}],
)
def test_a_fit_goes_on_from_its_own_bath(options):
    """The minimum stays where it was; couplings enter in one of them nonlinearly."""
    first = fit_bath(FREQUENCIES, SEMICIRCLE, 3, **options)
    again = fit_bath(
        FREQUENCIES, SEMICIRCLE, 3, starts=first.bath, num_steps=1, **options
    )
    assert again.distance == pytest.approx(first.distance, rel=1e-9)
    np.testing.assert_allclose(again.bath.levels, first.bath.levels, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("is_complex", [False, True])
def test_several_orbitals_start_from_a_given_bath(is_complex):
    hidden = hidden_bath(4, 2, is_complex=is_complex)
    options = {"starts": hidden, "num_steps": 1}
    fit = fit_bath(FREQUENCIES, hidden.hybridization(Z), 4, **options)
    assert fit.max_error < 1e-13


def test_given_starts_all_lead_to_the_best_bath():
    levels = jnp.array([[-1.0, 0.2, 0.7], [-0.2, 0.3, 2.0]])
    starts = Bath(levels, 0.5 * jnp.ones((2, 3)))
    fit = fit_bath(FREQUENCIES, SEMICIRCLE, 3, starts=starts)
    random = fit_bath(FREQUENCIES, SEMICIRCLE, 3)
    assert fit.starts_at_best == fit.distances.size == 2
    assert fit.distance == pytest.approx(random.distance, rel=1e-9)


@pytest.mark.parametrize(
    ("starts", "options", "words"),
    [
        (start(4), {}, "starts with levels"),
        (start(3, num_orbitals=2), {}, "starts with levels"),
        (start(3, num_starts=0), {}, "starts with levels"),
        (Bath(jnp.zeros(3), jnp.zeros(2)), {}, "starts with levels"),
        (start(3, levels=[0.0, jnp.nan, 1.0]), {}, "starts that are finite"),
        (Bath(jnp.ones(3, complex), jnp.ones(3)), {}, "real levels"),
        (
            start(3, levels=[-1.0, 0.1, 0.8]),
            {"particle_hole_symmetric": True},
            "levels in pairs",
        ),
    ],
)
def test_refuses_starts_of_another_form(starts, options, words):
    with pytest.raises(ValueError, match=f"Expected.*{words}"):
        fit_bath(FREQUENCIES, SEMICIRCLE, 3, starts=starts, **options)


@pytest.mark.slow
def test_levenberg_marquardt_divides_its_starts_over_devices():
    options = {"optimizer": "levenberg_marquardt", "num_starts": 3}
    devices = ShardedCommunicator(jax.devices())
    fit = fit_bath(FREQUENCIES, SEMICIRCLE, 3, communicator=devices, **options)
    alone = fit_bath(FREQUENCIES, SEMICIRCLE, 3, **options)
    np.testing.assert_array_equal(fit.distances, alone.distances)


def test_float32_is_as_good_as_its_rounding():
    with jax.enable_x64(False):
        fit = fit_bath(FREQUENCIES, SEMICIRCLE, 4)
    assert fit.bath.levels.dtype == np.float32
    assert fit.starts_at_best == 20
    assert fit.max_error == pytest.approx(1.2988e-3, rel=1e-2)


def test_second_fit_compiles_nothing(caplog):
    fit_bath(FREQUENCIES, SEMICIRCLE, 3)
    with jax.log_compiles(), caplog.at_level("WARNING"):
        fit_bath(FREQUENCIES, 0.25 * SEMICIRCLE, 3)
    told = [r.getMessage() for r in caplog.records if "Compiling" in r.getMessage()]
    assert told == []


def test_frequencies_may_be_complex_points():
    z = np.linspace(-1, 1, 30) + 0.3j
    hidden = hidden_bath(3)
    fit = fit_bath(z, hidden.hybridization(z), 3)
    np.testing.assert_allclose(fit.bath.levels, hidden.levels, atol=1e-11)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_sites": 0}, "from 1 to 56 bath sites"),
        ({"num_sites": 57}, "from 1 to 56 bath sites"),
        ({"frequencies": np.zeros(56)}, "none of them zero"),
        ({"frequencies": np.ones((56, 1))}, "a row of finite frequencies"),
        ({"hybridization": SEMICIRCLE[1:]}, "a hybridization of shape"),
        ({"hybridization": np.full(56, np.nan)}, "NaN"),
        ({"hybridization": np.zeros(56)}, "not zero"),
        ({"weights": "none"}, "weights one, inverse_number"),
        ({"weights": -np.ones(56)}, "weights >= 0"),
        ({"fitted": "delta"}, "weiss_field"),
        ({"power": 0.5}, "a power of 1 or more"),
        ({"chemical_potential": np.inf}, "a finite chemical potential"),
        ({"sum_rule": -1.0}, "a positive sum rule"),
        ({"sum_rule": np.eye(2)}, "a sum rule of shape"),
        ({"num_starts": 0}, "1 start or more"),
        ({"optimizer": "simplex"}, "an optimizer among"),
        ({"optimizer": "dogleg", "power": 1.0}, "a power of 2"),
        ({"communicator": ShardedCommunicator(jax.devices())}, "over devices"),
    ],
)
def test_refuses_what_means_nothing(changes, words):
    sound = {"frequencies": FREQUENCIES, "hybridization": SEMICIRCLE, "num_sites": 3}
    with pytest.raises(ValueError, match=f"Expected.*{words}"):
        fit_bath(**(sound | changes))
