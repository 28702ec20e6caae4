"""Errors of means against chains whose autocorrelation is known: x' = r x + noise."""

import numpy as np
import pytest
from scipy.signal import lfilter

from physml.estimators import autocorrelation, blocking_levels, chain_estimate


def autoregressive(rng, r, num_chains, num_steps):
    """Stationary chains with rho(k) = r^k and the variance 1."""
    noise = rng.normal(size=(num_chains, num_steps))
    noise[:, 1:] *= np.sqrt(1 - r**2)
    return lfilter([1.0], [1.0, -r], noise, axis=1)


def exact_time(r):
    return (1 + r) / (1 - r) / 2


@pytest.mark.parametrize("r", [-0.4, 0.0, 0.5, 0.9, 0.98])
def test_autocorrelation_time_of_an_autoregressive_chain(r):
    rng = np.random.default_rng(5)
    chains = autoregressive(rng, r, 8, 20_000)
    estimate = chain_estimate(chains)
    # the statistical error of tau (Wolff 2004), with a window of some 6 tau, 4 sigma
    tau = exact_time(r)
    window = max(6 * tau, 3)
    assert abs(estimate.autocorrelation_time / tau - 1) < 4 * np.sqrt(
        4 * (window + 0.5) / chains.size
    )
    error = np.sqrt(2 * tau / chains.size)
    assert abs(estimate.mean) < 4 * error
    assert estimate.error == pytest.approx(error, rel=0.15)
    assert estimate.effective_samples == pytest.approx(
        chains.size / (2 * estimate.autocorrelation_time)
    )
    assert abs(estimate.split_r_hat - 1) < 0.01


@pytest.mark.parametrize("r", [0.0, 0.5, 0.9])
def test_errors_hold_the_spread_of_many_means(r):
    rng = np.random.default_rng(6)
    estimates = [chain_estimate(autoregressive(rng, r, 2, 2000)) for _ in range(100)]
    pulls = [estimate.mean / estimate.error for estimate in estimates]
    assert np.std(pulls) == pytest.approx(1, abs=4 / np.sqrt(2 * 100))


@pytest.mark.parametrize("r", [0.0, 0.5, 0.9])
def test_blocking_finds_the_exact_error(r):
    rng = np.random.default_rng(7)
    chains = autoregressive(rng, r, 4, 2**14)
    levels = blocking_levels(chains)
    exact = np.sqrt(2 * exact_time(r) / chains.size)
    margin = 4 * levels.error_of_error[levels.chosen]
    assert abs(levels.best_error - exact) < margin + 0.03 * exact  # bias, short blocks
    assert levels.error[0] == pytest.approx(1 / np.sqrt(chains.size), rel=0.03)
    assert levels.block_length[-1] * 2 == chains.shape[1]


def test_blocking_and_autocorrelation_agree():
    chains = autoregressive(np.random.default_rng(8), 0.95, 4, 2**15)
    levels, estimate = blocking_levels(chains), chain_estimate(chains)
    assert levels.best_error == pytest.approx(estimate.error, rel=0.1)


def test_autocorrelation_function():
    chains = autoregressive(np.random.default_rng(9), 0.8, 8, 20_000)
    rho = autocorrelation(chains, 10)
    assert rho[0] == 1
    np.testing.assert_allclose(rho, 0.8 ** np.arange(10), atol=0.03)


def test_one_chain_has_a_split_r_hat():
    chains = autoregressive(np.random.default_rng(1), 0.5, 1, 4000)
    assert abs(chain_estimate(chains[0]).split_r_hat - 1) < 0.02
    drifting = chains[0] + np.linspace(0, 3, 4000)
    assert chain_estimate(drifting).split_r_hat > 1.2


def test_chains_that_disagree_show():
    chains = np.random.default_rng(2).normal(size=(4, 500))
    chains[0] += 2
    estimate = chain_estimate(chains)
    assert estimate.split_r_hat > 1.2
    assert estimate.effective_samples < 20


def test_constant_series():
    assert chain_estimate(np.full((3, 20), 2.0)) == (2.0, 0.0, 0.5, 60.0, 1.0)
    assert blocking_levels(np.full((3, 20), 2.0)).best_error == 0
    stuck = chain_estimate(np.repeat([[1.0], [3.0]], 20, axis=1))
    assert (stuck.mean, stuck.effective_samples) == (2.0, 0.0)
    assert stuck.split_r_hat == stuck.error == np.inf


@pytest.mark.parametrize("estimator", [chain_estimate, blocking_levels])
def test_what_is_no_series_is_refused(estimator):
    with pytest.raises(ValueError, match="8 steps or more, got shape"):
        estimator(np.zeros(3))
    with pytest.raises(ValueError, match="finite numbers, got 1 that are not"):
        estimator(np.array([np.nan, *range(10)]))


def test_lags_out_of_range_are_refused():
    with pytest.raises(ValueError, match="1 to 9 lags, got 10"):
        autocorrelation(np.zeros(10), 10)


def test_a_constant_series_has_no_autocorrelation_function():
    with pytest.raises(ValueError, match="a series that changes"):
        autocorrelation(np.full((2, 20), 3.0), 4)


@pytest.mark.parametrize("estimator", [chain_estimate, blocking_levels])
def test_a_complex_series_is_refused(estimator):
    with pytest.raises(ValueError, match="real numbers, got complex128"):
        estimator(1j * np.arange(20.0))
