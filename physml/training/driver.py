"""The way through the stages of a minimization, of one start or of many.

A piece of steps is one compiled program; between pieces the clock, the observer and the
stop rules that are not in the program have their say.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from physml.failures import expected
from physml.parallel import Communicator
from physml.parallel.threads import blas_threads
from physml.training.compiled_loop import (
    RECORDS_PER_PIECE,
    Limits,
    Loss,
    Starts,
    TrainingState,
    choose,
    run_piece,
    start_stage,
)
from physml.training.records import Records
from physml.training.stages import Stage
from physml.training.stopping import Outcome, StopRules

SECONDS_PER_PIECE = 0.5  # what a piece aims at, so that Ctrl-C is answered soon


@dataclass(frozen=True)
class TrainingSnapshot:
    """Where a minimization stands: enough to go on from it exactly.

    With several starts each array of the state has a first axis of starts.
    """

    stage: int
    state: TrainingState


@dataclass(frozen=True)
class MinimizeResult:
    """The end of a minimization.

    `parameters` are those of the record with the lowest loss (a line search may leave
    it once rounding decides); `value` is the loss there and `measure` the distance from
    the solution; `steps` counts all stages.
    """

    parameters: Any
    value: float
    measure: float
    outcome: Outcome
    steps: int
    records: Records


AllRecords = tuple[Records, ...]  # of each start
Observer = Callable[[TrainingSnapshot, AllRecords], bool]


@dataclass(frozen=True)
class Driver:
    """One minimization: everything that stays the same on the way."""

    loss: Loss
    measure: Loss
    stages: Sequence[Stage]
    rules: StopRules
    record_every: int
    observer: Observer | None
    communicator: Communicator
    starts: Starts | None = None  # None: one, without an axis of its own

    def __post_init__(self) -> None:
        """Refuse a loop that would never end."""
        if self.record_every < 1:
            what = "1 step or more from one record to the next"
            raise expected(what, self.record_every, "10 is the default")

    def from_snapshot(self, snapshot: TrainingSnapshot) -> tuple[MinimizeResult, ...]:
        """Run what is left of the stages; return the end of each start."""
        with blas_threads(1):  # factorizations inside a loss are small
            return self._results(*self._all_stages(snapshot))

    def _all_stages(
        self, snapshot: TrainingSnapshot
    ) -> tuple[TrainingSnapshot, AllRecords]:
        deadline = time.monotonic() + (self.rules.time_limit or np.inf)
        snapshot = replace(snapshot, state=self.communicator.share(snapshot.state))
        records = self._no_records()
        while True:
            snapshot, new = self._stage(snapshot, deadline)
            records = _joined(records, new)
            if snapshot.stage == len(self.stages) - 1 or _is_over(snapshot.state):
                return snapshot, records
            snapshot = self._next_stage(snapshot)

    def _stage(
        self, snapshot: TrainingSnapshot, deadline: float
    ) -> tuple[TrainingSnapshot, AllRecords]:
        """Run one stage, piece by piece."""
        records, num_records = self._no_records(), 1
        while _is_running(snapshot.state):
            start = time.monotonic()
            snapshot, new = self._piece(snapshot, num_records)
            records = _joined(records, new)
            is_stopped = self.observer is not None and self.observer(snapshot, new)
            if not _is_running(snapshot.state):
                break
            if is_stopped:
                return _with_outcome(snapshot, Outcome.INTERRUPTED), records
            seconds, is_late = self._clock(start, deadline)
            if is_late:
                return _with_outcome(snapshot, Outcome.TIME_LIMIT), records
            pace = SECONDS_PER_PIECE / seconds
            num_records = int(np.clip(num_records * pace, 1, RECORDS_PER_PIECE))
        return snapshot, records

    def _clock(self, start: float, deadline: float) -> tuple[float, bool]:
        """Return the seconds since the start, and whether time is up, on the root."""
        now = time.monotonic()
        return self.communicator.broadcast_object((now - start, now > deadline))

    def _piece(
        self, snapshot: TrainingSnapshot, num_records: int
    ) -> tuple[TrainingSnapshot, AllRecords]:
        stage = self.stages[snapshot.stage]
        limits = Limits(
            jnp.asarray(stage.num_steps),
            jnp.asarray(self.record_every),
            jnp.asarray(num_records),
            self.rules.target,
            self.rules.patience,
            self.rules.improvement,
        )
        batch_loss = stage.batch_loss
        piece = run_piece(
            self.loss,
            self.measure,
            snapshot.state,
            limits,
            optimizer=stage.optimizer,
            batch_loss=None if batch_loss is None else as_pytree(batch_loss),
            communicator=self.communicator,
            starts=self.starts,
        )
        records = tuple(
            Records(step[:n].astype(np.int64), value[:n], measure[:n])
            for (step, value, measure), n in self._by_start(
                (piece.rows, piece.num_rows)
            )
        )
        return replace(snapshot, state=piece.state), records

    def _next_stage(self, snapshot: TrainingSnapshot) -> TrainingSnapshot:
        """Start the next stage from the best of this one, where it did not end all."""
        number = snapshot.stage + 1
        go_on = partial(_go_on, self.stages[number])
        state = (go_on if self.starts is None else jax.vmap(go_on))(snapshot.state)
        return TrainingSnapshot(number, state)

    def _results(
        self, snapshot: TrainingSnapshot, records: AllRecords
    ) -> tuple[MinimizeResult, ...]:
        state = snapshot.state
        steps = state.steps_before + state.step
        ends = self.communicator.fetch((state.best, state.outcome, steps))
        return tuple(
            MinimizeResult(
                jax.tree.map(jnp.asarray, best.parameters),
                float(best.value),
                float(best.measure),
                Outcome(int(outcome)),
                int(step),
                rows,
            )
            for (best, outcome, step), rows in zip(
                self._by_start(ends), records, strict=True
            )
        )

    def _by_start(self, tree: Any) -> list[Any]:
        """Return the pytree of each start, in host memory."""
        whole = jax.tree.map(np.asarray, tree)
        if self.starts is None:
            return [whole]
        numbers = range(self.starts.number)
        return [jax.tree.map(itemgetter(number), whole) for number in numbers]

    def _no_records(self) -> AllRecords:
        return (Records.empty(),) * (1 if self.starts is None else self.starts.number)


def as_pytree(function: Callable) -> Callable:
    """Let a plain function go through jit; a pytree that can be called does already."""
    is_plain = jax.tree_util.all_leaves([function])
    return Partial(function) if is_plain else function


def _joined(first: AllRecords, second: AllRecords) -> AllRecords:
    return tuple(a + b for a, b in zip(first, second, strict=True))


def _is_running(state: TrainingState) -> bool:
    """Whether any start is."""
    return bool(np.any(np.asarray(state.outcome) == Outcome.RUNNING))


def _is_over(state: TrainingState) -> bool:
    """Whether no later stage shall run."""
    outcomes = np.asarray(state.outcome)
    is_cut = np.isin(outcomes, [Outcome.TIME_LIMIT, Outcome.INTERRUPTED]).any()
    return bool(is_cut or not np.any(_goes_on(outcomes)))


def _goes_on(outcome: Any) -> Any:
    return (outcome == Outcome.STEP_LIMIT) | (outcome == Outcome.NO_PROGRESS)


def _go_on(stage: Stage, state: TrainingState) -> TrainingState:
    """Return the first state of the next stage, or the last one where all is over."""
    best = state.best
    fresh = start_stage(best.parameters, best.value, best.measure, stage)
    fresh = fresh._replace(steps_before=state.steps_before + state.step)
    ended = state._replace(optimizer_state=fresh.optimizer_state)
    return choose(_goes_on(state.outcome), fresh, ended)


def _with_outcome(snapshot: TrainingSnapshot, outcome: Outcome) -> TrainingSnapshot:
    """Say why those that still run do not go on."""
    now = snapshot.state.outcome
    changed = jnp.where(now == Outcome.RUNNING, jnp.asarray(outcome, now.dtype), now)
    return replace(snapshot, state=snapshot.state._replace(outcome=changed))
