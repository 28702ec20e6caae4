"""Least squares whose samples, or whose starts, are divided over the ranks.

Run as it stands this tests the serial communicator; test_ranks.py runs it under mpirun
and over devices.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.training import (
    Regression,
    StopRules,
    minimize,
    minimize_starts,
    optimizer_stages,
)

TIMES = np.linspace(0.0, 4.0, 37)  # NumPy: ranks set up JAX after the import
STAGES = optimizer_stages("levenberg_marquardt", num_steps=100)
OPTIONS = {"stop_rules": StopRules(patience=15), "record_every": 2}


@pytest.fixture(autouse=True)
def promotion_where_optax_runs():
    """Optax itself mixes dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def exponentials(parameters, times):
    amplitudes, rates = parameters
    return jnp.exp(-jnp.outer(times, rates)) @ amplitudes


EXACT = (np.array([2.0, -1.5]), np.array([0.5, 1.9]))
START = (np.array([1.0, -1.0]), np.array([0.2, 3.0]))
STARTS = tuple(np.outer(1 + 0.1 * np.arange(4.0), x) for x in START)


def regression(*communicator):
    noise = 0.01 * np.random.default_rng(0).normal(size=37)
    targets = np.exp(-np.outer(TIMES, EXACT[1])) @ EXACT[0] + noise
    inputs = jnp.asarray(TIMES), jnp.asarray(targets)
    return Regression(exponentials, *inputs, *communicator)


def test_triangle_of_divided_samples(communicator):
    loss = regression(communicator).loss()
    triangle = communicator.spmd(lambda loss: loss.triangle(START))(loss)
    alone = jax.jit(regression().loss().triangle)(START)
    np.testing.assert_allclose(
        triangle.T @ triangle, alone.T @ alone, rtol=1e-13, atol=1e-15
    )


def test_fit_of_divided_samples_takes_the_steps_of_one_rank(communicator):
    loss = regression(communicator).loss()
    found = minimize(
        loss,
        jax.tree.map(jnp.asarray, START),
        STAGES,
        communicator=communicator,
        **OPTIONS,
    )
    alone = minimize(
        regression().loss(), jax.tree.map(jnp.asarray, START), STAGES, **OPTIONS
    )
    np.testing.assert_allclose(
        found.records.value[:5], alone.records.value[:5], rtol=1e-10
    )
    np.testing.assert_allclose(found.value, alone.value, rtol=1e-13)
    for one, other in zip(found.parameters, alone.parameters, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)  # root of the loss's rounding


@functools.cache
def ends_on_one_rank():
    return minimize_starts(regression().loss(), STARTS, STAGES, at_once=2, **OPTIONS)


@pytest.mark.parametrize("divide_starts", [False, True])
def test_starts_end_where_one_rank_does(communicator, divide_starts):
    """All ranks on each start, with divided samples; or each rank on its own starts."""
    problem = regression() if divide_starts else regression(communicator)
    found = minimize_starts(
        problem.loss(),
        STARTS,
        STAGES,
        at_once=2,
        communicator=communicator,
        divide_starts=divide_starts,
        **OPTIONS,
    )
    alone = ends_on_one_rank()
    np.testing.assert_allclose(found.values, alone.values, rtol=1e-12)
    for one, other in zip(found.results, alone.results, strict=True):
        np.testing.assert_allclose(
            one.records.value[:5], other.records.value[:5], rtol=1e-10
        )
    everywhere = communicator.gather_objects(found.values.tobytes())
    assert set(everywhere) == {found.values.tobytes()}
