"""Markov chains as a task, and what is made of their records."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from physml.lattices import square, triangular
from physml.runs.sampling import Sampled, SamplingTask
from physml.runs.self_learning.measurement import (
    correlation,
    measured,
    orders,
    predicted_acceptance,
)
from physml.samplers import LocalMetropolis, WholeDensity


def log_density(coupling, spins):
    return coupling * jnp.sum(spins[0] * spins[1])


def kernel(results):
    return LocalMetropolis(WholeDensity(Partial(log_density, results["coupling"])))


def spins_on(*shape):
    normal = np.random.default_rng(0).normal(size=(*shape, 3))
    return jnp.asarray(normal / np.linalg.norm(normal, axis=-1, keepdims=True))


def first_spins(results):
    del results
    return spins_on(3, 2)


def observables(spins):
    return {"spins": spins}


TASK = SamplingTask(
    "chains",
    kernel,
    first_spins,
    jax.random.key(1),
    num_sweeps=12,
    num_burn_in=4,
    record_every=2,
    observables=observables,
)
RESULTS = {"coupling": jnp.asarray(0.7)}


def shapes(tree):
    return jax.tree.map(lambda x: (jnp.shape(x), jnp.asarray(x).dtype), tree)


def test_chains_go_on_from_any_state_and_templates_fit():
    seen = []
    whole = TASK.perform(RESULTS, lambda *pair: seen.append(pair), None)
    assert [row["step"] for _, rows in seen for row in rows] == list(range(2, 17, 2))
    state, _ = seen[1]
    template = TASK.state_template(jax.eval_shape(lambda: RESULTS))
    assert shapes(state) == jax.tree.map(lambda x: (x.shape, x.dtype), template)
    again = TASK.perform(RESULTS, lambda *_: None, state)
    for left, right in zip(
        jax.tree.leaves(whole._replace(seconds=0)),
        jax.tree.leaves(again._replace(seconds=0)),
        strict=True,
    ):
        np.testing.assert_array_equal(left, right)


def test_records_are_those_of_the_measured_sweeps():
    sampled = TASK.perform(RESULTS, lambda *_: None, None)
    assert sampled.values["spins"].shape == (3, 6, 2, 3)
    spins = sampled.values["spins"]
    exact = 0.7 * jnp.sum(spins[..., 0, :] * spins[..., 1, :], axis=-1)
    np.testing.assert_allclose(sampled.values["log_density"], exact, atol=1e-14)
    assert np.all(sampled.seconds > 0)


def series(num_chains=4, num_steps=2000):
    """Return chains of F/T = 5 + noise with rho(k) = 0.5^k: tau = 3/2."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(num_chains, num_steps))
    for step in range(1, num_steps):
        noise[:, step] = 0.5 * noise[:, step - 1] + math.sqrt(0.75) * noise[:, step]
    return Sampled(
        {"log_density": -5 - noise, "magnetization": np.full(noise.shape, 0.25)},
        {"local": rng.uniform(0.3, 0.5, noise.shape)},
        np.full(num_steps, 0.01),
        np.zeros(num_chains, int),
    )


def test_entries_of_the_result_are_those_of_known_chains():
    entries = measured(series(), "local")
    energy = "free_energy_over_temperature"
    error = math.sqrt(2 * 1.5 / 8000)
    assert abs(entries["autocorrelation_time"] - 1.5) < 0.15
    assert abs(entries[f"{energy}_error"] - error) < 0.1 * error
    assert abs(entries[energy] - 5) < 4 * error
    assert abs(entries["measured_acceptance"] - 0.4) < 0.01
    assert entries["magnetization"] == 0.25
    assert entries["magnetization_error"] == 0
    assert entries["staggered_magnetization"] is None
    rate = entries["effective_samples_per_second"]
    assert abs(rate * 20 - entries["effective_samples"]) < 1e-6
    assert entries["slowest_observable"] == energy
    of_three = measured(series(), "local", num_sweeps=3)
    tau = entries["autocorrelation_time"]
    assert of_three["autocorrelation_time"] == pytest.approx(3 * tau)
    assert of_three["num_steps"] == 6000
    assert of_three["effective_samples"] == entries["effective_samples"]
    np.testing.assert_allclose(correlation(series())[:3], [1, 0.5, 0.25], atol=0.05)


def test_chains_that_are_stuck_have_no_number_that_json_does_not_know():
    sampled = series()
    stuck = np.repeat(np.arange(4.0)[:, None], 2000, axis=1)
    values = {**sampled.values, "log_density": stuck}
    entries = measured(sampled._replace(values=values), "local")
    assert entries["free_energy_over_temperature_error"] is None
    assert entries["split_r_hat"] is None
    assert entries["effective_samples_per_second"] == 0


@pytest.mark.parametrize("mse", [0.05, 0.5, 2.0])
def test_predicted_acceptance_is_that_of_independent_normal_errors(mse):
    # errors of F/T: variance mse, mean -mse/2 under one density, +mse/2 under the other
    normal = np.random.default_rng(1).normal(size=(2, 400_000)) * math.sqrt(mse)
    change = normal[0] - normal[1] + mse  # of the error, from old to new
    acceptance = np.minimum(1, np.exp(-change)).mean()
    assert abs(predicted_acceptance(mse) - acceptance) < 3e-3


def test_orders_leave_out_what_the_lattice_does_not_have():
    for lattice, count in ((square(2, 2), 2), (square(3, 2), 1), (triangular(4, 4), 1)):
        values = jax.eval_shape(partial(orders, lattice), spins_on(*lattice.shape))
        assert len(values) == count
