"""The compiled loop of a minimization: steps, records and stop rules in one program.

One call of `run_piece` takes many steps and returns to Python with a block of records;
how many steps a piece takes changes neither the steps nor their rounding. Failure is
data here: an outcome in the state, which `physml.training.minimization` reports.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from physml.parallel import SERIAL, Communicator, Division
from physml.training.stages import BatchLoss, Stage
from physml.training.stopping import Outcome

Loss = Callable[[Any], jax.Array]

RECORDS_PER_PIECE = 64  # the size of the compiled program's record buffer


class TrainingState(NamedTuple):
    """What one stage carries from step to step: a pytree of arrays."""

    parameters: Any
    optimizer_state: Any
    steps_before: jax.Array  # that earlier stages took
    step: jax.Array  # in this stage
    value: jax.Array  # the loss at the parameters, at the last record
    measure: jax.Array
    best: "Best"
    outcome: jax.Array


class Best(NamedTuple):
    """The record with the lowest loss in this stage, or the one that converged."""

    parameters: Any
    value: jax.Array
    measure: jax.Array
    step: jax.Array


class Limits(NamedTuple):
    """Numbers of the stop rules; not static, so changing them compiles nothing."""

    num_steps: jax.Array
    record_every: jax.Array
    num_records: jax.Array
    target: float
    patience: int
    improvement: float


class Piece(NamedTuple):
    """The carry of the compiled loop over records."""

    state: TrainingState
    num_rows: jax.Array
    rows: list[jax.Array]  # buffers of step, value, measure


class Starts(NamedTuple):
    """How several starts share a program: static, unlike their states."""

    number: int
    at_once: int  # computed together by vmap; the others after them
    is_divided: bool  # each rank has its own, instead of a part of every one


@partial(jax.jit, static_argnames=("optimizer", "communicator", "starts"))
def run_piece(
    loss: Loss,
    measure: Loss,
    state: TrainingState,
    limits: Limits,
    *,
    optimizer: optax.GradientTransformation,
    batch_loss: BatchLoss | None = None,
    communicator: Communicator = SERIAL,
    starts: Starts | None = None,
) -> Piece:
    """Run up to `num_records` records; end early where a stop rule says so."""
    functions = (loss, measure, batch_loss, limits)
    return on_ranks(
        partial(_run_records, optimizer), functions, state, starts, communicator
    )


def on_ranks(
    function: Callable[[Any, Any], Any],
    common: Any,
    state: Any,
    starts: Starts | None,
    communicator: Communicator,
) -> Any:
    """Return function(common, state), for the state of each start if there are many.

    All ranks get all results, also where each has its own starts.
    """
    if starts is None:
        return communicator.spmd(function)(common, state)
    if not starts.is_divided:

        def together(common: Any, states: Any) -> Any:
            one = partial(function, common)
            return jax.lax.map(one, states, batch_size=starts.at_once)

        return communicator.spmd(together)(common, state)
    # What is divided in here is so on the one rank that made it: it goes in whole.
    leaves, structure = jax.tree.flatten(common)

    def apart(leaves: list[Any], states: Any) -> Any:
        one = partial(function, jax.tree.unflatten(structure, leaves))
        division = Division(starts.number, communicator.size)
        indices = division.indices(communicator.rank)
        own = jax.tree.map(lambda leaf: leaf[indices], states)
        found = jax.lax.map(one, own, batch_size=starts.at_once)
        return communicator.gather(found, starts.number)

    return communicator.spmd(apart)(leaves, state)


def _run_records(
    optimizer: optax.GradientTransformation,
    functions: tuple[Loss, Loss, BatchLoss | None, Limits],
    state: TrainingState,
) -> Piece:
    """Do this on each rank."""
    loss, measure, batch_loss, limits = functions

    def is_running(piece: Piece) -> jax.Array:
        running = piece.state.outcome == Outcome.RUNNING
        return running & (piece.num_rows < limits.num_records)

    def to_next_record(piece: Piece) -> Piece:
        moved = _take_steps(loss, batch_loss, optimizer, piece.state, limits)
        value, size = loss(moved[0]), measure(moved[0])
        state = _judge(piece.state, moved, value, size, limits)
        rows = [
            buffer.at[piece.num_rows].set(entry)
            for buffer, entry in zip(piece.rows, _row(state), strict=True)
        ]
        return Piece(state, piece.num_rows + 1, rows)

    rows = [jnp.zeros(RECORDS_PER_PIECE, entry.dtype) for entry in _row(state)]
    return jax.lax.while_loop(
        is_running, to_next_record, Piece(state, jnp.zeros((), int), rows)
    )


def _row(state: TrainingState) -> tuple[jax.Array, jax.Array, jax.Array]:
    return state.steps_before + state.step, state.value, state.measure


def _take_steps(
    loss: Loss,
    batch_loss: BatchLoss | None,
    optimizer: optax.GradientTransformation,
    state: TrainingState,
    limits: Limits,
) -> tuple[Any, Any, jax.Array]:
    """Step to the next record; return parameters, optimizer state and step."""
    update = optax.with_extra_args_support(optimizer).update

    def one_step(index: jax.Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        parameters, optimizer_state = carry
        if batch_loss is None:
            step_loss: Callable = loss
            value, gradient = _value_and_gradient(loss, parameters, optimizer_state)
        else:  # another loss in each step: nothing of the last one can be used again
            step_loss = partial(_flipped, batch_loss, state.step + index)
            value, gradient = jax.value_and_grad(step_loss)(parameters)
        updates, optimizer_state = update(
            gradient,
            optimizer_state,
            parameters,
            value=value,
            grad=gradient,
            value_fn=step_loss,
        )
        return optax.apply_updates(parameters, updates), optimizer_state

    count = jnp.minimum(limits.record_every, limits.num_steps - state.step)
    carry = (state.parameters, state.optimizer_state)
    parameters, optimizer_state = jax.lax.fori_loop(0, count, one_step, carry)
    return parameters, optimizer_state, state.step + count


def _flipped(batch_loss: BatchLoss, step: jax.Array, parameters: Any) -> jax.Array:
    return batch_loss(parameters, step)


def _value_and_gradient(
    loss: Loss, parameters: Any, optimizer_state: Any
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
    limits: Limits,
) -> TrainingState:
    """Apply the stop rules; go back to the last record if the loss is not finite."""
    parameters, optimizer_state, step = moved
    has_converged = measure <= limits.target
    margin = limits.improvement * jnp.abs(before.best.value)
    is_best = (value < before.best.value - margin) | has_converged
    candidate = Best(parameters, value, measure, step)
    best = choose(is_best, candidate, before.best)
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
        parameters,
        optimizer_state,
        before.steps_before,
        step,
        value,
        measure,
        best,
        outcome,
    )
    failed = before._replace(outcome=jnp.full_like(before.outcome, Outcome.NON_FINITE))
    return choose(jnp.isfinite(value) & jnp.isfinite(measure), after, failed)


def choose(condition: jax.Array, first: Any, second: Any) -> Any:
    """Select one of two pytrees of the same structure."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), first, second)


@partial(jax.jit, static_argnames=("communicator", "starts"))
def evaluate(
    loss: Loss,
    measure: Loss,
    parameters: Any,
    *,
    communicator: Communicator = SERIAL,
    starts: Starts | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Return loss and measure at the parameters."""

    def both(functions: tuple[Loss, Loss], p: Any) -> tuple[jax.Array, jax.Array]:
        loss, measure = functions
        return loss(p), measure(p)

    return on_ranks(both, (loss, measure), parameters, starts, communicator)


def start_stage(
    parameters: Any, value: jax.Array, measure: jax.Array, stage: Stage
) -> TrainingState:
    """Return the state of a stage before its first step."""
    zero = jnp.zeros((), int)
    return TrainingState(
        parameters,
        _initial_optimizer_state(stage.optimizer, parameters),
        zero,
        zero,
        value,
        measure,
        Best(parameters, value, measure, zero),
        zero,
    )


@partial(jax.jit, static_argnames="optimizer")
def _initial_optimizer_state(
    optimizer: optax.GradientTransformation, parameters: Any
) -> Any:
    """Return the optimizer's start in the types that a step returns.

    Optax starts some counters as Python numbers, whose type is weak; the loop returns
    them with a strong one, and would be compiled again for its second piece.
    """
    state = optimizer.init(parameters)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, leaf.dtype), state)


def state_template(
    parameters: Any,
    dtype: jax.typing.DTypeLike,
    stage: Stage,
    num_starts: int | None = None,
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
    num_starts
        The length of the first axis of parameters and state; None: there is none.
    """
    scalar = jax.ShapeDtypeStruct(() if num_starts is None else (num_starts,), dtype)
    start: Callable = partial(start_stage, stage=stage)
    if num_starts is not None:
        start = jax.vmap(start)
    return jax.eval_shape(start, parameters, scalar, scalar)
