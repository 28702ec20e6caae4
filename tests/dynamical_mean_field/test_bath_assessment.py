"""Fitted baths that follow their hybridization: derivatives, batches, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.dynamical_mean_field import (
    Bath,
    fit_bath,
    matsubara_frequencies,
    semicircular_greens_function,
)
from physml.failures import RunFailure

W = matsubara_frequencies(20.0, 56)
Z = jnp.asarray(1j * W)


def semicircle(half_bandwidth=1.0):
    return semicircular_greens_function(Z, half_bandwidth)


@pytest.fixture(scope="module")
def fit():
    return fit_bath(W, semicircle(), 4)


def test_stays_where_it_is(fit):
    again = fit.follow(semicircle())
    np.testing.assert_allclose(again.levels, fit.bath.levels, atol=1e-11)
    np.testing.assert_allclose(again.couplings, fit.bath.couplings, atol=1e-11)


def test_finds_what_a_new_fit_finds(fit):
    found, new = fit.follow(semicircle(1.1)), fit_bath(W, semicircle(1.1), 4).bath
    np.testing.assert_allclose(found.levels, new.levels, atol=1e-8)
    np.testing.assert_allclose(found.couplings, new.couplings, atol=1e-8)


@pytest.mark.parametrize("jacobian", [jax.jacfwd, jax.jacrev])
def test_a_scale_of_delta_is_that_of_squared_couplings(fit, jacobian):
    slope = jax.jit(jacobian(lambda scale: fit.follow(scale * semicircle())))(1.0)
    np.testing.assert_allclose(slope.levels, 0, atol=1e-10)
    np.testing.assert_allclose(slope.couplings, fit.bath.couplings / 2, atol=1e-10)


def test_derivative_by_the_width_is_that_of_new_fits(fit):
    slope = jax.grad(lambda width: fit.follow(semicircle(width)).levels[-1])(1.0)
    step = 1e-3
    upper, lower = (
        float(fit_bath(W, semicircle(1 + s), 4).bath.levels[-1]) for s in (step, -step)
    )
    assert float(slope) == pytest.approx((upper - lower) / (2 * step), abs=1e-5)


def test_batches(fit):
    widths = jnp.array([0.95, 1.0, 1.05])
    batch = jax.vmap(lambda width: fit.follow(semicircle(width)))(widths)
    for i, width in enumerate(widths):
        one = fit.follow(semicircle(width))
        np.testing.assert_allclose(batch.levels[i], one.levels, atol=1e-9)


@pytest.mark.parametrize("is_complex", [False, True])
def test_several_orbitals_follow_their_hidden_bath(is_complex):
    generator = np.random.default_rng(3)
    couplings = generator.uniform(0.3, 0.8, (2, 2)).astype(complex)
    if is_complex:
        couplings[:, 1] *= np.exp(1j * np.array([0.4, 1.1]))
    couplings = jnp.asarray(couplings if is_complex else couplings.real)
    hidden = Bath(jnp.array([-0.7, 0.4]), couplings)
    fit = fit_bath(W, hidden.hybridization(Z), 2, num_starts=4)

    def levels(shift):
        moved = Bath(hidden.levels + shift, (1 + shift[0]) * hidden.couplings)
        return fit.follow(moved.hybridization(Z))

    slope = jax.jacrev(lambda shift: levels(shift).levels)(jnp.zeros(2))
    np.testing.assert_allclose(slope, np.eye(2), atol=1e-9)
    found = levels(jnp.array([0.02, -0.01]))
    np.testing.assert_allclose(found.levels, [-0.68, 0.39], atol=1e-10)
    residues = 1.02**2 * hidden.residues
    np.testing.assert_allclose(found.residues, residues, atol=1e-9)


def test_a_sum_rule_is_kept():
    fit = fit_bath(W, semicircle(), 3, sum_rule=1.0)
    assert float(fit.follow(semicircle(1.05)).sum_rule) == pytest.approx(1, abs=1e-14)


def test_other_shapes_and_nan_are_refused(fit):
    with pytest.raises(ValueError, match=r"shape \(56,\)"):
        fit.follow(semicircle()[:-1])
    with pytest.raises(ValueError, match="finite"):
        fit.follow(semicircle().at[0].set(jnp.nan))
    with pytest.raises(ValueError, match="power 2"):
        fit_bath(W, semicircle(), 2, power=1.5, num_starts=2).follow(semicircle())


def test_nan_inside_of_jit_stays_nan(fit):
    found = jax.jit(fit.follow)(jnp.nan * semicircle())
    assert np.isnan(found.levels).all()


def test_a_bath_that_is_lost_is_no_result(fit, monkeypatch):
    lost = Bath(jnp.full(4, jnp.nan), jnp.ones((4, 1)))
    monkeypatch.setattr(
        "physml.dynamical_mean_field.bath_assessment._followed", lambda *_: lost
    )
    with pytest.raises(RunFailure, match="call fit_bath again"):
        fit.follow(semicircle())
