"""Minimize any loss with any Optax optimizer, in compiled pieces of many steps.

A minimization runs through stages (an optimizer and a number of steps each). Within a
stage the loop is one compiled program that returns to Python only now and then, with a
block of records; how long a piece runs changes neither the steps nor their rounding.
Between pieces an observer sees a snapshot from which the run can go on bit for bit.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from physml.failures import expected
from physml.training.records import Records
from physml.training.stages import Stage
from physml.training.stopping import Outcome, StopRules

Loss = Callable[[Any], jax.Array]

RECORDS_PER_PIECE = 64  # the size of the compiled program's record buffer
SECONDS_PER_PIECE = 0.5  # what a piece aims at, so that Ctrl-C is answered soon


class TrainingState(NamedTuple):
    """What one stage carries from step to step: a pytree of arrays."""

    parameters: Any
    optimizer_state: Any
    step: jax.Array  # in this stage
    value: jax.Array  # the loss at the parameters, at the last record
    measure: jax.Array
    best: "_Best"
    outcome: jax.Array


class _Best(NamedTuple):
    """The record with the lowest loss in this stage, or the one that converged."""

    parameters: Any
    value: jax.Array
    measure: jax.Array
    step: jax.Array


@dataclass(frozen=True)
class TrainingSnapshot:
    """Where a minimization stands: enough to go on from it exactly."""

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
) -> MinimizeResult:
    """Minimize a loss.

    Parameters
    ----------
    loss
        Maps parameters to a real scalar. A `jax.tree_util.Partial` may carry arrays; a
        second call with others of the same shape compiles nothing.
    parameters
        A pytree of floating-point arrays.
    stages
        The optimizers, in order.
    measure
        Maps parameters to a real scalar that is zero at the solution, computed at each
        record and compared with the stop target. By default the norm of the gradient.
    stop_rules
        When to end before the steps are used up.
    record_every
        Steps from one record to the next; stop rules are looked at there.
    observer
        Called with a snapshot and the new records after each compiled piece; if it
        returns True the run ends as interrupted.
    snapshot
        Go on from here instead of from `parameters`.

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
    loss = _as_partial(loss)
    measure = Partial(_gradient_norm, loss) if measure is None else _as_partial(measure)
    if snapshot is None:
        snapshot = initial_snapshot(loss, measure, parameters, stages)
    run = _Run(loss, measure, tuple(stages), rules, record_every, observer)
    return run.from_snapshot(snapshot)


def initial_snapshot(
    loss: Loss, measure: Loss, parameters: Any, stages: Sequence[Stage]
) -> TrainingSnapshot:
    """Return the snapshot before the first step, after checking the loss.

    Raises
    ------
    ValueError
        If there is no stage, or the loss is not a real finite scalar.
    """
    if not stages:
        raise expected("one stage or more", "none", "see optimizer_stages")
    shape = jax.eval_shape(loss, parameters)
    if shape.shape != () or not jnp.issubdtype(shape.dtype, jnp.floating):
        raise expected(
            "a loss that is a real scalar",
            f"{shape.dtype} of shape {shape.shape}",
            "sum it up, or take the real part",
        )
    value, size = _evaluate(_as_partial(loss), _as_partial(measure), parameters)
    if not np.isfinite(value):
        raise expected(
            "a loss that is finite at the first parameters",
            float(value),
            "check the initialization and the input data",
        )
    state = _start_stage(parameters, value, size, stages[0])
    return TrainingSnapshot(0, state)


@dataclass(frozen=True)
class _Run:
    """One call of `minimize`: everything that stays the same on the way."""

    loss: Partial
    measure: Partial
    stages: tuple[Stage, ...]
    rules: StopRules
    record_every: int
    observer: Observer | None

    def from_snapshot(self, snapshot: TrainingSnapshot) -> MinimizeResult:
        """Run what is left of the stages."""
        deadline = time.monotonic() + (self.rules.time_limit or np.inf)
        records = Records.empty()
        while True:
            snapshot, new = self._stage(snapshot, deadline)
            records = records + new
            outcome = Outcome(int(snapshot.state.outcome))
            is_last = snapshot.stage == len(self.stages) - 1
            if is_last or outcome not in (Outcome.STEP_LIMIT, Outcome.NO_PROGRESS):
                break
            snapshot = self._next_stage(snapshot)
        best = snapshot.state.best
        return MinimizeResult(
            best.parameters,
            float(best.value),
            float(best.measure),
            outcome,
            self._steps_before(snapshot.stage) + int(snapshot.state.step),
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
            if time.monotonic() > deadline:
                return _with_outcome(snapshot, Outcome.TIME_LIMIT), records
            pace = SECONDS_PER_PIECE / (time.monotonic() - start)
            num_records = int(np.clip(num_records * pace, 1, RECORDS_PER_PIECE))
        return snapshot, records

    def _piece(
        self, snapshot: TrainingSnapshot, num_records: int
    ) -> tuple[TrainingSnapshot, Records]:
        stage = self.stages[snapshot.stage]
        limits = _Limits(
            jnp.asarray(stage.num_steps),
            jnp.asarray(self.record_every),
            jnp.asarray(num_records),
            self.rules.target,
            self.rules.patience,
            self.rules.improvement,
        )
        piece = _run_piece(
            self.loss, self.measure, snapshot.state, limits, optimizer=stage.optimizer
        )
        step, *columns = (np.asarray(row)[: int(piece.num_rows)] for row in piece.rows)
        step = step.astype(np.int64) + self._steps_before(snapshot.stage)
        return replace(snapshot, state=piece.state), Records(step, *columns)

    def _next_stage(self, snapshot: TrainingSnapshot) -> TrainingSnapshot:
        stage, best = snapshot.stage + 1, snapshot.state.best
        start = _start_stage(
            best.parameters, best.value, best.measure, self.stages[stage]
        )
        return TrainingSnapshot(stage, start)

    def _steps_before(self, stage: int) -> int:
        return sum(earlier.num_steps for earlier in self.stages[:stage])


class _Limits(NamedTuple):
    """Numbers of the stop rules; not static, so changing them compiles nothing."""

    num_steps: jax.Array
    record_every: jax.Array
    num_records: jax.Array
    target: float
    patience: int
    improvement: float


class _Piece(NamedTuple):
    """The carry of the compiled loop over records."""

    state: TrainingState
    num_rows: jax.Array
    rows: list[jax.Array]  # buffers of step, value, measure


@partial(jax.jit, static_argnames="optimizer")
def _run_piece(
    loss: Partial,
    measure: Partial,
    state: TrainingState,
    limits: _Limits,
    *,
    optimizer: optax.GradientTransformation,
) -> _Piece:
    """Run up to `num_records` records; end early where a stop rule says so."""

    def is_running(piece: _Piece) -> jax.Array:
        running = piece.state.outcome == Outcome.RUNNING
        return running & (piece.num_rows < limits.num_records)

    def to_next_record(piece: _Piece) -> _Piece:
        moved = _take_steps(loss, optimizer, piece.state, limits)
        value, size = _evaluate(loss, measure, moved[0])
        state = _judge(piece.state, moved, value, size, limits)
        rows = [
            buffer.at[piece.num_rows].set(entry)
            for buffer, entry in zip(piece.rows, _row(state), strict=True)
        ]
        return _Piece(state, piece.num_rows + 1, rows)

    rows = [jnp.zeros(RECORDS_PER_PIECE, entry.dtype) for entry in _row(state)]
    return jax.lax.while_loop(
        is_running, to_next_record, _Piece(state, jnp.zeros((), int), rows)
    )


def _row(state: TrainingState) -> tuple[jax.Array, jax.Array, jax.Array]:
    return state.step, state.value, state.measure


def _take_steps(
    loss: Partial,
    optimizer: optax.GradientTransformation,
    state: TrainingState,
    limits: _Limits,
) -> tuple[Any, Any, jax.Array]:
    """Step to the next record; return parameters, optimizer state and step."""
    update = optax.with_extra_args_support(optimizer).update

    def one_step(_: jax.Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        parameters, optimizer_state = carry
        value, gradient = _value_and_gradient(loss, parameters, optimizer_state)
        updates, optimizer_state = update(
            gradient,
            optimizer_state,
            parameters,
            value=value,
            grad=gradient,
            value_fn=loss,
        )
        return optax.apply_updates(parameters, updates), optimizer_state

    count = jnp.minimum(limits.record_every, limits.num_steps - state.step)
    carry = (state.parameters, state.optimizer_state)
    parameters, optimizer_state = jax.lax.fori_loop(0, count, one_step, carry)
    return parameters, optimizer_state, state.step + count


def _value_and_gradient(
    loss: Partial, parameters: Any, optimizer_state: Any
) -> tuple[jax.Array, Any]:
    """Take both from a line search that has just computed them, if there was one."""
    has_both = all(
        optax.tree.get(optimizer_state, name) is not None for name in ("value", "grad")
    )
    if has_both:
        return optax.value_and_grad_from_state(loss)(parameters, state=optimizer_state)
    return jax.value_and_grad(loss)(parameters)


def _judge(
    before: TrainingState,
    moved: tuple[Any, Any, jax.Array],
    value: jax.Array,
    measure: jax.Array,
    limits: _Limits,
) -> TrainingState:
    """Apply the stop rules; go back to the last record if the loss is not finite."""
    parameters, optimizer_state, step = moved
    has_converged = measure <= limits.target
    margin = limits.improvement * jnp.abs(before.best.value)
    is_best = (value < before.best.value - margin) | has_converged
    candidate = _Best(parameters, value, measure, step)
    best = _choose(is_best, candidate, before.best)
    outcome = jnp.select(
        [
            has_converged,
            step >= limits.num_steps,
            step - best.step >= limits.patience,
        ],
        [int(Outcome.CONVERGED), int(Outcome.STEP_LIMIT), int(Outcome.NO_PROGRESS)],
        int(Outcome.RUNNING),
    ).astype(before.outcome.dtype)
    after = TrainingState(
        parameters, optimizer_state, step, value, measure, best, outcome
    )
    failed = before._replace(outcome=jnp.full_like(before.outcome, Outcome.NON_FINITE))
    return _choose(jnp.isfinite(value) & jnp.isfinite(measure), after, failed)


def _choose(condition: jax.Array, first: Any, second: Any) -> Any:
    """Select one of two pytrees of the same structure."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), first, second)


@jax.jit
def _evaluate(
    loss: Partial, measure: Partial, parameters: Any
) -> tuple[jax.Array, jax.Array]:
    return loss(parameters), measure(parameters)


def _gradient_norm(loss: Partial, parameters: Any) -> jax.Array:
    return optax.tree.norm(jax.grad(loss)(parameters))


def _start_stage(
    parameters: Any, value: jax.Array, measure: jax.Array, stage: Stage
) -> TrainingState:
    zero = jnp.zeros((), int)
    return TrainingState(
        parameters,
        jax.jit(stage.optimizer.init)(parameters),
        zero,
        value,
        measure,
        _Best(parameters, value, measure, zero),
        zero,
    )


def state_template(
    parameters: Any, dtype: jax.typing.DTypeLike, stage: Stage
) -> TrainingState:
    """Return the shapes and dtypes of a stage's state, for reading a checkpoint.

    Parameters
    ----------
    parameters
        A pytree of arrays or `jax.ShapeDtypeStruct`.
    dtype
        That of the loss.
    stage
        The stage under way.
    """
    scalar = jax.ShapeDtypeStruct((), dtype)
    start = partial(_start_stage, stage=stage)
    return jax.eval_shape(start, parameters, scalar, scalar)


def _with_outcome(snapshot: TrainingSnapshot, outcome: Outcome) -> TrainingSnapshot:
    state = snapshot.state
    return replace(
        snapshot, state=state._replace(outcome=jnp.full_like(state.outcome, outcome))
    )


def _as_partial(function: Callable) -> Partial:
    return function if isinstance(function, Partial) else Partial(function)
