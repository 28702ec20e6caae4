"""Markov chains as a task of a run: what they record, where they stand.

Records of the measured sweeps lie in arrays of their final length, filled from the
front, so that every checkpoint of a run has the same shapes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from physml.parallel import SERIAL, Communicator
from physml.runs.tasks import Observe, Results, Rows
from physml.samplers import (
    ChainRecords,
    Kernel,
    SamplingSnapshot,
    SelfLearning,
    choose_inner_length,
    initial_snapshot,
    sample,
    snapshot_of,
)
from physml.samplers.compiled_chains import Batching
from physml.samplers.sampling import Observables, nothing_observed


class Sampled(NamedTuple):
    """Records of the sweeps after burn-in: a pytree of arrays."""

    values: dict[str, np.ndarray]  # (num_chains, num_records, ...)
    acceptance: dict[str, np.ndarray]  # (num_chains, num_records)
    seconds: np.ndarray  # that each record took, all chains together, (num_records,)
    num_not_finite: np.ndarray  # refused proposals of each chain, (num_chains,)


class SamplingState(NamedTuple):
    """Where the chains stand, and what they have recorded so far."""

    snapshot: SamplingSnapshot
    sampled: Sampled


@dataclass(frozen=True)
class SamplingTask:
    """Chains of one kernel.

    Parameters
    ----------
    name
        What is done, for people.
    kernel
        Makes the kernel from the results of the tasks before; can be traced.
    first_spins
        Makes the first configurations from them, shape (num_chains, n_1, ..., n_d, 3);
        can be traced.
    key
        A random key.
    num_sweeps, num_burn_in, record_every, observables, batching, communicator
        As in `physml.samplers.sample`.
    """

    name: str
    kernel: Callable[[Results], Kernel]
    first_spins: Callable[[Results], jax.Array]
    key: jax.Array
    num_sweeps: int
    num_burn_in: int
    record_every: int = 1
    observables: Observables = nothing_observed
    batching: Batching = "vmap"
    communicator: Communicator = SERIAL

    @property
    def num_steps(self) -> int:
        """Sweeps of each chain."""
        return self.num_burn_in + self.num_sweeps

    def perform(
        self, results: Results, observe: Observe, state: SamplingState | None
    ) -> Sampled:
        """Run the chains."""
        kernel = self.kernel(results)
        current = self._start(kernel, results) if state is None else state

        def watch(snapshot: SamplingSnapshot, new: ChainRecords) -> bool:
            nonlocal current
            current = SamplingState(snapshot, self._filled(current.sampled, new))
            observe(current, _rows(new))
            return False

        end = sample(
            kernel,
            current.snapshot.chains.state.spins,
            key=self.key,
            num_sweeps=self.num_sweeps,
            num_burn_in=self.num_burn_in,
            record_every=self.record_every,
            observables=self.observables,
            batching=self.batching,
            observer=watch,
            snapshot=current.snapshot,
            communicator=self.communicator,
        )
        count = np.asarray(end.snapshot.chains.num_not_finite)
        return current.sampled._replace(num_not_finite=count)

    def state_template(self, results: Results) -> SamplingState:
        """Return the shapes of a state."""
        return jax.eval_shape(self._template, results)

    def result_template(self, results: Results) -> Sampled:
        """Return the shapes of the records."""
        return self.state_template(results).sampled

    def _start(self, kernel: Kernel, results: Results) -> SamplingState:
        spins = self.first_spins(results)
        first = initial_snapshot(
            kernel, spins, batching=self.batching, communicator=self.communicator
        )
        return SamplingState(first, self._no_records(kernel, spins))

    def _template(self, results: Results) -> SamplingState:
        kernel, spins = self.kernel(results), self.first_spins(results)
        return SamplingState(
            snapshot_of(kernel, spins), self._no_records(kernel, spins)
        )

    def _no_records(self, kernel: Kernel, spins: jax.Array) -> Sampled:
        """Return the records before the first sweep; spins may be traced."""
        start = jax.eval_shape(kernel.start, spins[0])
        sizes = {
            name: jax.ShapeDtypeStruct((), start.log_density.dtype)
            for name in kernel.step_sizes()
        }
        _, tally = jax.eval_shape(kernel.step, self.key, start, sizes)
        values = {"log_density": start.log_density}
        values |= jax.eval_shape(self.observables, start.spins)
        num_chains, num_records = len(spins), self.num_sweeps // self.record_every

        def buffer(row: jax.ShapeDtypeStruct) -> np.ndarray:
            return np.zeros((num_chains, num_records, *row.shape), row.dtype)

        values, acceptance = jax.tree.map(buffer, (values, tally.acceptance))
        count = np.zeros(num_chains, tally.num_not_finite.dtype)
        return Sampled(values, acceptance, np.zeros(num_records), count)

    def _filled(self, sampled: Sampled, new: ChainRecords) -> Sampled:
        """Put the records of measured sweeps into their places."""
        new = new.after(self.num_burn_in)
        if not len(new.sweep):
            return sampled
        places = (new.sweep - self.num_burn_in) // self.record_every - 1
        seconds = np.array(sampled.seconds)
        seconds[places] = new.seconds
        return Sampled(
            _put(sampled.values, new.values, places),
            _put(sampled.acceptance, new.acceptance, places),
            seconds,
            sampled.num_not_finite,
        )


@dataclass(frozen=True)
class InnerLengthTask:
    """The choice of the length of a self-learning chain, by measured speed.

    What it finds depends on the clock; a resumed run keeps what was found.

    Parameters
    ----------
    name
        What is done, for people.
    kernel, first_spins, key, observables, communicator
        As in `SamplingTask`; the length of the kernel is not looked at.
    lengths
        To choose from.
    num_sweeps
        Of each length.
    """

    name: str
    kernel: Callable[[Results], SelfLearning]
    first_spins: Callable[[Results], jax.Array]
    key: jax.Array
    observables: Observables
    lengths: tuple[int, ...] = (1, 2, 4, 8, 16)
    num_sweeps: int = 100
    communicator: Communicator = SERIAL

    @property
    def num_steps(self) -> int:
        """Sweeps of all lengths."""
        return self.num_sweeps * len(self.lengths)

    def perform(self, results: Results, observe: Observe, state: Any) -> np.ndarray:
        """Try all lengths; return the best."""
        choice = choose_inner_length(
            self.kernel(results),
            self.first_spins(results),
            key=self.key,
            lengths=self.lengths,
            num_sweeps=self.num_sweeps,
            observables=self.observables,
            communicator=self.communicator,
        )
        row = {"step": self.num_steps, "length": choice.best.num_inner}
        observe(state, [row | {"acceptance": choice.best.acceptance}])
        return np.asarray(choice.best.num_inner)

    def state_template(self, results: Results) -> None:
        """Return no state: nothing is kept on the way."""
        del results

    def result_template(self, results: Results) -> jax.ShapeDtypeStruct:
        """Return the shape of a number."""
        del results
        return jax.ShapeDtypeStruct((), int)


def _put(
    buffers: dict[str, np.ndarray], rows: dict[str, np.ndarray], places: np.ndarray
) -> dict[str, np.ndarray]:
    """Return copies (num_chains, num_records, ...) with rows at their places."""
    copies = {name: np.array(buffer) for name, buffer in buffers.items()}
    for name, copy in copies.items():
        copy[:, places] = rows[name]
    return copies


def _rows(new: ChainRecords) -> Rows:
    """Return a line for each record: means over the chains.

    Sums are rounded once, so that they do not depend on how many records come together.
    """
    columns = {"log_density": new.values["log_density"]}
    columns |= {f"{name}_acceptance": rows for name, rows in new.acceptance.items()}
    means = {
        name: [math.fsum(column) / len(column) for column in rows.T]
        for name, rows in columns.items()
    }
    return [
        {"step": int(step)} | {name: values[k] for name, values in means.items()}
        for k, step in enumerate(new.sweep)
    ]
