"""Markov chains divided over the ranks are those of one process, bit for bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from physml.parallel import SERIAL
from physml.samplers import (
    Hamiltonian,
    LocalMetropolis,
    SamplingOutcome,
    SelfLearning,
    WholeDensity,
    random_configurations,
    sample,
)

NUM_CHAINS = 5  # on 2 to 4 ranks some blocks are padded


def bonds(coupling, spins):
    return coupling * jnp.sum(spins * jnp.roll(spins, 1, axis=0))


def observe(spins):
    return {"bond": bonds(1.0, spins)}


DENSITY, POOR = Partial(bonds, 1.2), Partial(bonds, 0.5)
KERNELS = {
    "local": LocalMetropolis(WholeDensity(DENSITY)),
    "self-learning": SelfLearning(DENSITY, Hamiltonian(POOR, 3), num_inner=2),
}


def run(name, communicator, batching, **options):
    return sample(
        KERNELS[name],
        random_configurations(jax.random.key(0), NUM_CHAINS, (4,)),
        key=jax.random.key(1),
        num_sweeps=20,
        num_burn_in=10,
        observables=observe,
        batching=batching,
        communicator=communicator,
        **options,
    )


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("batching", ["map", "vmap"])
def test_chains_do_not_know_how_many_ranks_there_are(communicator, name, batching):
    alone, divided = (run(name, c, batching) for c in (SERIAL, communicator))
    assert divided.outcome == SamplingOutcome.FINISHED
    close = np.testing.assert_array_equal
    if batching == "vmap":  # loops over other numbers of chains may round differently
        close = np.testing.assert_allclose
    jax.tree.map(close, alone.records.values, divided.records.values)
    jax.tree.map(close, alone.snapshot, divided.snapshot)


def test_another_number_of_ranks_goes_on(communicator):
    stopped = run("local", SERIAL, "map", observer=lambda *_: True)
    assert stopped.outcome == SamplingOutcome.INTERRUPTED
    resumed = run("local", communicator, "map", snapshot=stopped.snapshot)
    whole = run("local", SERIAL, "map")
    jax.tree.map(np.testing.assert_array_equal, resumed.snapshot, whole.snapshot)
