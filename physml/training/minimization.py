"""Minimize any loss with any Optax optimizer, in compiled pieces of many steps.

A minimization runs through stages (an optimizer and a number of steps each). Within a
stage the loop is one compiled program that returns to Python only now and then, with a
block of records; how long a piece runs changes neither the steps nor their rounding.
Between pieces an observer sees a snapshot from which the run can go on bit for bit.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial
from threadpoolctl import threadpool_limits

from physml.failures import expected
from physml.parallel import SERIAL, Communicator
from physml.training.compiled_loop import (
    RECORDS_PER_PIECE,
    Limits,
    TrainingState,
    evaluate,
    run_piece,
    start_stage,
)
from physml.training.records import Records
from physml.training.stages import Stage
from physml.training.stopping import Outcome, StopRules

Loss = Callable[[Any], jax.Array]

SECONDS_PER_PIECE = 0.5  # what a piece aims at, so that Ctrl-C is answered soon


@dataclass(frozen=True)
class TrainingSnapshot:
    """Where a minimization stands: enough to go on from it exactly."""

    stage: int
    state: TrainingState
    steps_before: int = 0  # that earlier stages took


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


Observer = Callable[[TrainingSnapshot, Records], bool]


def minimize(
    loss: Loss,
    parameters: Any,
    stages: Sequence[Stage],
    *,
    measure: Loss | None = None,
    stop_rules: StopRules | None = None,
    record_every: int = 10,
    observer: Observer | None = None,
    snapshot: TrainingSnapshot | None = None,
    communicator: Communicator = SERIAL,
) -> MinimizeResult:
    """Minimize a loss.

    Parameters
    ----------
    loss
        Maps parameters to a real scalar. A `jax.tree_util.Partial`, or another pytree
        that can be called, may carry arrays; a second call with others of the same
        shape compiles nothing. Least-squares optimizers want a `SumOfSquares`.
    parameters
        A pytree of floating-point arrays.
    stages
        The optimizers, in order; a stage may see the loss in batches, see `Stage`.
    measure
        Maps parameters to a real scalar that is zero at the solution, computed at each
        record and compared with the stop target. By default the norm of the gradient.
    stop_rules
        When to end before the steps are used up.
    record_every
        Steps from one record to the next; stop rules are looked at there.
    observer
        Called with a snapshot and the new records after each compiled piece; if it
        returns True the run ends as interrupted. With several processes: on each of
        them, and it must return the same.
    snapshot
        Go on from here instead of from `parameters`.
    communicator
        The ranks whose programs loss and measure are written for: what they carry may
        be `Divided`, and they return the same on all ranks. Each process calls this
        function; the root's clock decides.

    Returns
    -------
    The best parameters on record, and why the run ended; a value that is not finite is
    one of the reasons.

    Raises
    ------
    ValueError
        If the loss is not a real finite scalar at the first parameters.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from physml.training import minimize, optimizer_stages
    >>> loss = lambda x: jnp.sum((x - 3.0) ** 2)
    >>> result = minimize(loss, jnp.zeros(2), optimizer_stages("lbfgs", num_steps=50))
    >>> [round(float(x), 3) for x in result.parameters]
    [3.0, 3.0]
    """
    rules = StopRules() if stop_rules is None else stop_rules
    loss = _as_pytree(loss)
    measure = Partial(_gradient_norm, loss) if measure is None else _as_pytree(measure)
    if snapshot is None:
        snapshot = initial_snapshot(
            loss, measure, parameters, stages, communicator=communicator
        )
    run = _Run(
        loss, measure, tuple(stages), rules, record_every, observer, communicator
    )
    # Factorizations inside a loss are small: more BLAS threads only get in each other's
    # way (measured 5 to 50 times slower on two busy cores).
    with threadpool_limits(limits=1, user_api="blas"):
        return run.from_snapshot(snapshot)


def initial_snapshot(
    loss: Loss,
    measure: Loss,
    parameters: Any,
    stages: Sequence[Stage],
    *,
    communicator: Communicator = SERIAL,
) -> TrainingSnapshot:
    """Return the snapshot before the first step, after checking the loss.

    Raises
    ------
    ValueError
        If there is no stage, or the loss is not a real finite scalar.
    """
    if not stages:
        raise expected("one stage or more", "none", "see optimizer_stages")
    parameters = communicator.share(parameters)
    loss, measure = _as_pytree(loss), _as_pytree(measure)
    program = communicator.spmd(lambda loss, parameters: loss(parameters))
    shape = jax.eval_shape(program, loss, parameters)
    if shape.shape != () or not jnp.issubdtype(shape.dtype, jnp.floating):
        raise expected(
            "a loss that is a real scalar",
            f"{shape.dtype} of shape {shape.shape}",
            "sum it up, or take the real part",
        )
    value, size = evaluate(loss, measure, parameters, communicator=communicator)
    if not np.isfinite(value):
        raise expected(
            "a loss that is finite at the first parameters",
            float(value),
            "check the initialization and the input data",
        )
    state = start_stage(parameters, value, size, stages[0])
    return TrainingSnapshot(0, state)


@dataclass(frozen=True)
class _Run:
    """One call of `minimize`: everything that stays the same on the way."""

    loss: Loss
    measure: Loss
    stages: tuple[Stage, ...]
    rules: StopRules
    record_every: int
    observer: Observer | None
    communicator: Communicator

    def from_snapshot(self, snapshot: TrainingSnapshot) -> MinimizeResult:
        """Run what is left of the stages."""
        deadline = time.monotonic() + (self.rules.time_limit or np.inf)
        snapshot = replace(snapshot, state=self.communicator.share(snapshot.state))
        records = Records.empty()
        while True:
            snapshot, new = self._stage(snapshot, deadline)
            records = records + new
            outcome = Outcome(int(snapshot.state.outcome))
            is_last = snapshot.stage == len(self.stages) - 1
            if is_last or outcome not in (Outcome.STEP_LIMIT, Outcome.NO_PROGRESS):
                break
            snapshot = self._next_stage(snapshot)
        best = self.communicator.fetch(snapshot.state.best)
        return MinimizeResult(
            best.parameters,
            float(best.value),
            float(best.measure),
            outcome,
            snapshot.steps_before + int(snapshot.state.step),
            records,
        )

    def _stage(
        self, snapshot: TrainingSnapshot, deadline: float
    ) -> tuple[TrainingSnapshot, Records]:
        """Run one stage, piece by piece."""
        records, num_records = Records.empty(), 1
        while int(snapshot.state.outcome) == Outcome.RUNNING:
            start = time.monotonic()
            snapshot, new = self._piece(snapshot, num_records)
            records = records + new
            is_stopped = self.observer is not None and self.observer(snapshot, new)
            if int(snapshot.state.outcome) != Outcome.RUNNING:
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
    ) -> tuple[TrainingSnapshot, Records]:
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
            batch_loss=None if batch_loss is None else _as_pytree(batch_loss),
            communicator=self.communicator,
        )
        step, *columns = (np.asarray(row)[: int(piece.num_rows)] for row in piece.rows)
        step = step.astype(np.int64) + snapshot.steps_before
        return replace(snapshot, state=piece.state), Records(step, *columns)

    def _next_stage(self, snapshot: TrainingSnapshot) -> TrainingSnapshot:
        stage, best = snapshot.stage + 1, snapshot.state.best
        start = start_stage(
            best.parameters, best.value, best.measure, self.stages[stage]
        )
        steps = snapshot.steps_before + int(snapshot.state.step)
        return TrainingSnapshot(stage, start, steps)


def _with_outcome(snapshot: TrainingSnapshot, outcome: Outcome) -> TrainingSnapshot:
    state = snapshot.state
    return replace(
        snapshot, state=state._replace(outcome=jnp.full_like(state.outcome, outcome))
    )


def _as_pytree(function: Callable) -> Callable:
    """Let a plain function go through jit; a pytree that can be called does already."""
    is_plain = jax.tree_util.all_leaves([function])
    return Partial(function) if is_plain else function


def _gradient_norm(loss: Loss, parameters: Any) -> jax.Array:
    return optax.tree.norm(jax.grad(loss)(parameters))
