"""Minimize any loss with any optimizer, in compiled pieces of many steps.

A minimization runs through stages (an optimizer and a number of steps each). Within a
stage the loop is one compiled program that returns to Python only now and then, with a
block of records; how long a piece runs changes neither the steps nor their rounding.
Between pieces an observer sees a snapshot from which the run can go on bit for bit.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

from physml.failures import expected
from physml.parallel import SERIAL, Communicator
from physml.training.compiled_loop import Loss, evaluate, start_stage
from physml.training.driver import (
    AllRecords,
    Driver,
    MinimizeResult,
    TrainingSnapshot,
    as_pytree,
)
from physml.training.records import Records
from physml.training.stages import Stage
from physml.training.stopping import StopRules

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
        If the loss is not a real finite scalar at the first parameters, or records
        have no distance.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from physml.training import minimize, optimizer_stages
    >>> loss = lambda x: jnp.sum((x - 3.0) ** 2)
    >>> result = minimize(loss, jnp.zeros(2), optimizer_stages("lbfgs", num_steps=50))
    >>> [round(float(x), 3) for x in result.parameters]
    [3.0, 3.0]
    """
    loss, measure = as_pytree(loss), measure_of(loss, measure)
    if snapshot is None:
        snapshot = initial_snapshot(
            loss, measure, parameters, stages, communicator=communicator
        )
    driver = Driver(
        loss,
        measure,
        stages,
        stop_rules or StopRules(),
        record_every,
        None if observer is None else partial(_observe_one, observer),
        communicator,
    )
    (result,) = driver.from_snapshot(snapshot)
    return result


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
    loss, measure = as_pytree(loss), as_pytree(measure)
    require_scalar(loss, parameters, communicator)
    value, size = evaluate(loss, measure, parameters, communicator=communicator)
    if not np.isfinite(value):
        raise expected(
            "a loss that is finite at the first parameters",
            float(value),
            "check the initialization and the input data",
        )
    state = start_stage(parameters, value, size, stages[0])
    return TrainingSnapshot(0, state)


def require_scalar(loss: Loss, parameters: Any, communicator: Communicator) -> None:
    """Refuse a loss that is not a real scalar."""
    program = communicator.spmd(lambda loss, parameters: loss(parameters))
    shape = jax.eval_shape(program, loss, parameters)
    if shape.shape != () or not jnp.issubdtype(shape.dtype, jnp.floating):
        raise expected(
            "a loss that is a real scalar",
            f"{shape.dtype} of shape {shape.shape}",
            "sum it up, or take the real part",
        )


def measure_of(loss: Loss, measure: Loss | None) -> Loss:
    """Return the measure of the distance from the solution, by default the gradient."""
    if measure is None:
        return Partial(_gradient_norm, as_pytree(loss))
    return as_pytree(measure)


def _observe_one(
    observer: Observer, snapshot: TrainingSnapshot, records: AllRecords
) -> bool:
    return observer(snapshot, records[0])


def _gradient_norm(loss: Loss, parameters: Any) -> jax.Array:
    return optax.tree.norm(jax.grad(loss)(parameters))
