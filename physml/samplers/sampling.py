"""Run many Markov chains of spins, in compiled pieces of many sweeps.

Any kernel runs through the same driver: burn-in with adapting step sizes, then sweeps
with frozen ones; chains divided over the ranks of a communicator; a block of records
now and then, and a snapshot from which the run can go on bit for bit.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from physml.failures import expected
from physml.parallel import SERIAL, Communicator
from physml.parallel.threads import blas_threads
from physml.samplers.compiled_chains import (
    RECORDS_PER_PIECE,
    Batching,
    Schedule,
    run_piece,
)
from physml.samplers.kernel import Kernel
from physml.samplers.outcome import SamplingOutcome
from physml.samplers.records import ChainRecords
from physml.samplers.snapshot import SamplingSnapshot, initial_snapshot

SECONDS_PER_PIECE = 0.5  # what a piece aims at, so that Ctrl-C is answered soon

Observables = Callable[[jax.Array], dict[str, jax.Array]]


@dataclass(frozen=True)
class SampleResult:
    """The end of sampling.

    `records` are those of this call, burn-in included; `measured` are those after it.
    """

    records: ChainRecords
    snapshot: SamplingSnapshot
    outcome: SamplingOutcome
    num_burn_in: int

    @property
    def measured(self) -> ChainRecords:
        """The records after burn-in."""
        return self.records.after(self.num_burn_in)

    @property
    def seconds(self) -> float:
        """The time of the measured sweeps, without compilation."""
        return float(np.sum(self.measured.seconds))

    @property
    def spins(self) -> jax.Array:
        """The last configurations, shape (num_chains, n_1, ..., n_d, 3)."""
        return self.snapshot.chains.state.spins


Observer = Callable[[SamplingSnapshot, ChainRecords], bool]


def nothing_observed(spins: jax.Array) -> dict[str, jax.Array]:
    """Return no observable: the log density is recorded in any case."""
    del spins
    return {}


def sample(
    kernel: Kernel,
    spins: jax.Array,
    *,
    key: jax.Array,
    num_sweeps: int,
    num_burn_in: int = 0,
    observables: Observables = nothing_observed,
    record_every: int = 1,
    batching: Batching = "vmap",
    time_limit: float | None = None,
    observer: Observer | None = None,
    snapshot: SamplingSnapshot | None = None,
    communicator: Communicator = SERIAL,
) -> SampleResult:
    """Run Markov chains.

    Parameters
    ----------
    kernel
        What a sweep does to one chain: `LocalMetropolis`, `Hamiltonian`,
        `SelfLearning`, `Cycle`, ... A second call with other numbers in it compiles
        nothing.
    spins
        The first configuration of each chain, shape (num_chains, n_1, ..., n_d, 3),
        unit vectors; start chains apart from each other, so that split R-hat can tell.
    key
        A random key. Those of chains and sweeps follow from it and from their numbers.
    num_sweeps
        After burn-in.
    num_burn_in
        Sweeps in which step sizes adapt, and which are not measured.
    observables
        Maps the spins of one chain to a dictionary of arrays, recorded at each record.
        Use one object throughout: it is compiled once.
    record_every
        Sweeps from one record to the next; it divides both numbers of sweeps.
    batching
        "vmap" or "map", see `map_chains`.
    time_limit
        In seconds, looked at between compiled pieces; None for no limit.
    observer
        Called with a snapshot and the new records after each compiled piece; if it
        returns True the run ends as interrupted. With several processes: on each of
        them, and it must return the same.
    snapshot
        Go on from here instead of from `spins`.
    communicator
        The ranks over which chains are divided. Each process calls this function, and
        each gets all results.

    Returns
    -------
    The records, and why the run ended; proposals with a density that is not finite are
    refused, counted in `snapshot.chains.num_not_finite`, and one of the reasons.

    Raises
    ------
    ValueError
        If spins are not unit vectors, a number is out of its range, or the log density
        is not a real finite scalar at the first spins.

    Examples
    --------
    Two spins with the density exp(S_1 . S_2); exact is coth 1 - 1 = 0.3130:

    >>> from jax.tree_util import Partial
    >>> from physml.samplers import LocalMetropolis, WholeDensity, random_configurations
    >>> def product(spins):
    ...     return {"product": jnp.sum(spins[0] * spins[1])}
    >>> density = WholeDensity(Partial(lambda spins: product(spins)["product"]))
    >>> result = sample(
    ...     LocalMetropolis(density),
    ...     random_configurations(jax.random.key(0), 100, (2,)),
    ...     key=jax.random.key(1), num_sweeps=400, num_burn_in=100, observables=product)
    >>> print(f"{result.measured.values['product'].mean():.2f}")
    0.31
    """
    run = _Run(
        kernel,
        observables if isinstance(observables, Partial) else Partial(observables),
        key,
        _checked_schedule(num_sweeps, num_burn_in, record_every),
        batching,
        observer,
        communicator,
    )
    if snapshot is None:
        snapshot = initial_snapshot(
            kernel, spins, batching=batching, communicator=communicator
        )
    with blas_threads(1):  # factorizations of small matrices
        return run.from_snapshot(snapshot, time_limit)


class _Plan(NamedTuple):
    """How many sweeps, in which parts."""

    num_burn_in: int
    num_all: int  # burn-in included
    record_every: int

    def num_records_left(self, sweep: int) -> int:
        """Return how many records there are to the end of this part."""
        end = self.num_burn_in if sweep < self.num_burn_in else self.num_all
        return (end - sweep) // self.record_every


@dataclass(frozen=True)
class _Run:
    """One call of `sample`: everything that stays the same on the way."""

    kernel: Kernel
    observables: Partial
    key: jax.Array
    plan: _Plan
    batching: Batching
    observer: Observer | None
    communicator: Communicator

    def from_snapshot(
        self, snapshot: SamplingSnapshot, time_limit: float | None
    ) -> SampleResult:
        """Run what is left of the sweeps."""
        deadline = time.monotonic() + (np.inf if time_limit is None else time_limit)
        snapshot, records = self._piece(snapshot, 0)  # compiles, untimed
        num_records, outcome = 1, SamplingOutcome.FINISHED
        while (left := self.plan.num_records_left(int(snapshot.sweep))) > 0:
            snapshot, new = self._piece(snapshot, min(num_records, left))
            records = records + new
            is_stopped = self.observer is not None and self.observer(snapshot, new)
            if self.plan.num_records_left(int(snapshot.sweep)) == 0:
                break
            if is_stopped or self._is_late(deadline):
                outcome = _early_end(is_stopped)
                break
            pace = SECONDS_PER_PIECE / float(np.mean(new.seconds))
            num_records = int(np.clip(pace, 1, RECORDS_PER_PIECE))
        if outcome == SamplingOutcome.FINISHED and _has_refused(snapshot):
            outcome = SamplingOutcome.NOT_FINITE
        return SampleResult(records, snapshot, outcome, self.plan.num_burn_in)

    def _is_late(self, deadline: float) -> bool:
        """Let the root's clock decide."""
        return self.communicator.broadcast_object(time.monotonic() > deadline)

    def _piece(
        self, snapshot: SamplingSnapshot, num_records: int
    ) -> tuple[SamplingSnapshot, ChainRecords]:
        """Run so many records of all chains, and time them on the root."""
        start = time.monotonic()
        share, plan = self.communicator.share, self.plan
        numbers = (snapshot.sweep, num_records, plan.record_every, plan.num_burn_in)
        piece = run_piece(
            share(self.kernel),
            share(self.observables),
            share(self.key),
            share(Schedule(*(jnp.asarray(number) for number in numbers))),
            self.communicator.divide(snapshot.chains),
            num_chains=snapshot.chains.number.shape[0],
            batching=self.batching,
            communicator=self.communicator,
        )
        chains, rows = jax.block_until_ready(self.communicator.fetch(piece))
        rows = jax.tree.map(lambda x: np.asarray(x)[:, :num_records], rows)
        seconds = self.communicator.broadcast_object(time.monotonic() - start)
        steps = plan.record_every * np.arange(1, num_records + 1)
        records = ChainRecords(
            int(snapshot.sweep) + steps,
            np.full(num_records, seconds / max(num_records, 1)),
            rows.values,
            rows.acceptance,
        )
        sweep = snapshot.sweep + num_records * plan.record_every
        return SamplingSnapshot(sweep, chains), records


def _early_end(is_stopped: bool) -> SamplingOutcome:
    return SamplingOutcome.INTERRUPTED if is_stopped else SamplingOutcome.TIME_LIMIT


def _has_refused(snapshot: SamplingSnapshot) -> bool:
    return bool(np.any(np.asarray(snapshot.chains.num_not_finite) > 0))


def _checked_schedule(num_sweeps: int, num_burn_in: int, record_every: int) -> _Plan:
    if num_sweeps < 1 or num_burn_in < 0 or record_every < 1:
        raise expected(
            "num_sweeps >= 1, num_burn_in >= 0 and record_every >= 1",
            f"{num_sweeps}, {num_burn_in} and {record_every}",
            "raise what is too small",
        )
    if num_sweeps % record_every or num_burn_in % record_every:
        raise expected(
            f"numbers of sweeps that are multiples of record_every = {record_every}",
            f"{num_burn_in} of burn-in and {num_sweeps} after it",
            "round them",
        )
    return _Plan(num_burn_in, num_burn_in + num_sweeps, record_every)
