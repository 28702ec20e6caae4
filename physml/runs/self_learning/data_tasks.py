"""The tasks that make a data set or take one from a file."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from physml.runs.sampling import Sampled, SamplingState, SamplingTask
from physml.runs.self_learning.data_set import DataSet
from physml.runs.tasks import Observe, Results

DATA = "data set"


@dataclass(frozen=True)
class MakeDataSet:
    """Chains of the exact model; the last ones are held out for tests.

    Parameters
    ----------
    sampling
        The chains, which record "spins".
    num_training_chains
        How many chains are not held out.
    """

    sampling: SamplingTask
    num_training_chains: int

    @property
    def name(self) -> str:
        """That of the sampling."""
        return self.sampling.name

    @property
    def num_steps(self) -> int:
        """Sweeps of each chain."""
        return self.sampling.num_steps

    def perform(
        self, results: Results, observe: Observe, state: SamplingState | None
    ) -> DataSet:
        """Run the chains, and put their records in a row."""
        return self._data_set(self.sampling.perform(results, observe, state))

    def state_template(self, results: Results) -> SamplingState:
        """Return the shapes of a state."""
        return self.sampling.state_template(results)

    def result_template(self, results: Results) -> DataSet:
        """Return an empty data set of the same shapes."""
        shapes = self.sampling.result_template(results)
        empty = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
        return self._data_set(empty)

    def _data_set(self, sampled: Sampled) -> DataSet:
        spins, density = sampled.values["spins"], sampled.values["log_density"]
        num_chains, num_records = density.shape
        chains = np.repeat(np.arange(num_chains), num_records)
        return DataSet(
            np.reshape(spins, (-1, *spins.shape[2:])),
            -np.ravel(density),
            chains,
            chains >= self.num_training_chains,
            np.asarray(np.mean(sampled.acceptance["local"])),
        )


@dataclass(frozen=True)
class GivenDataSet:
    """A data set that was read from a file."""

    data: DataSet
    name: str = DATA

    @property
    def num_steps(self) -> int:
        """One: it is there."""
        return 1

    def perform(self, results: Results, observe: Observe, state: Any) -> DataSet:
        """Return what was read."""
        del results
        observe(state, [{"step": 1, "samples": len(self.data.spins)}])
        return self.data

    def state_template(self, results: Results) -> None:
        """Return no state."""
        del results

    def result_template(self, results: Results) -> DataSet:
        """Return what was read."""
        del results
        return self.data
