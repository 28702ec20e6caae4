"""One minimization from many starts: an outcome for each, and the best of all.

All starts run one compiled program, and one snapshot holds the states of all of them,
so that checkpoints and resuming are those of one minimization. A start that has ended
costs nothing while the others run, unless it shares a `vmap` with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected
from physml.parallel import SERIAL, Communicator
from physml.training.compiled_loop import Loss, Starts, evaluate, start_stage
from physml.training.driver import (
    Driver,
    MinimizeResult,
    Observer,
    TrainingSnapshot,
    as_pytree,
)
from physml.training.minimization import measure_of, require_scalar
from physml.training.stages import Stage
from physml.training.stopping import Outcome, StopRules


@dataclass(frozen=True)
class StartsResult:
    """The ends of all starts, in the order in which they were given."""

    results: tuple[MinimizeResult, ...]

    @property
    def values(self) -> np.ndarray:
        """The loss of each start, NaN where it was never finite."""
        return np.array([result.value for result in self.results])

    @property
    def best(self) -> MinimizeResult:
        """The one with the lowest loss."""
        return self.results[int(np.nanargmin(self.values))]


def minimize_starts(
    loss: Loss,
    starts: Any,
    stages: Sequence[Stage],
    *,
    at_once: int = 1,
    measure: Loss | None = None,
    stop_rules: StopRules | None = None,
    record_every: int = 10,
    observer: Observer | None = None,
    snapshot: TrainingSnapshot | None = None,
    communicator: Communicator = SERIAL,
    divide_starts: bool = False,
) -> StartsResult:
    """Minimize a loss from several starts.

    Parameters
    ----------
    loss
        As in `minimize`: of the parameters of one start.
    starts
        A pytree of arrays with a first axis of starts, as from
        `jax.vmap(initialize)(keys)`.
    stages
        The optimizers, in order. A start that converges or fails in a stage does not
        take part in the next.
    at_once
        How many starts are computed together by `vmap`, one group after the other. All
        of them for small problems, whose steps are mostly overhead; 1 where one start
        fills the processor or the memory. A group goes on until its last start ends.
    measure, stop_rules, record_every
        As in `minimize`, for each start.
    observer
        As in `minimize`, with a tuple of records, those of each start.
    snapshot
        Go on from here instead of from `starts`, which must be given for their number.
    communicator
        The ranks for whose programs the loss is written.
    divide_starts
        True: each rank runs its own share of the starts, with a loss that does not
        speak to other ranks and holds all samples. False: the ranks work together on
        each start, whose samples they have divided.

    Returns
    -------
    An end for each start, the same on all ranks, whatever their number.

    Raises
    ------
    ValueError
        If there are no starts, the loss is finite at none of them, or records have no
        distance.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from physml.training import minimize_starts, optimizer_stages
    >>> loss = lambda x: (x**2 - 1) ** 2 + 0.1 * x
    >>> stages = optimizer_stages("lbfgs", num_steps=50)
    >>> found = minimize_starts(loss, jnp.array([-2.0, 2.0]), stages, at_once=2)
    >>> [round(float(result.parameters), 2) for result in found.results]
    [-1.01, 0.99]
    >>> round(found.best.value, 2)
    -0.1
    """
    layout = Starts(_num_starts(starts), _positive(at_once), divide_starts)
    loss, measure = as_pytree(loss), measure_of(loss, measure)
    if snapshot is None:
        snapshot = _first_snapshot(loss, measure, starts, stages, layout, communicator)
    driver = Driver(
        loss,
        measure,
        stages,
        stop_rules or StopRules(),
        record_every,
        observer,
        communicator,
        layout,
    )
    return StartsResult(driver.from_snapshot(snapshot))


def _first_snapshot(
    loss: Loss,
    measure: Loss,
    starts: Any,
    stages: Sequence[Stage],
    layout: Starts,
    communicator: Communicator,
) -> TrainingSnapshot:
    """Return the snapshot before the first step."""
    if not stages:
        raise expected("one stage or more", "none", "see optimizer_stages")
    starts = communicator.share(starts)
    loss_ranks = SERIAL if layout.is_divided else communicator
    require_scalar(loss, jax.tree.map(lambda leaf: leaf[0], starts), loss_ranks)
    values, sizes = evaluate(
        loss, measure, starts, communicator=communicator, starts=layout
    )
    is_finite = np.isfinite(values)
    if not is_finite.any():
        raise expected(
            "a loss that is finite at one of the starts",
            f"none of {layout.number}",
            "check the initialization and the input data",
        )
    first = jax.vmap(partial(start_stage, stage=stages[0]))
    state = first(starts, values, sizes)
    outcome = jnp.where(is_finite, state.outcome, int(Outcome.NON_FINITE))
    return TrainingSnapshot(0, state._replace(outcome=outcome))


def _num_starts(starts: Any) -> int:
    lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(starts)}
    if len(lengths) != 1 or lengths & {(), (0,)}:
        raise expected(
            "arrays with a common first axis of 1 start or more",
            f"first axes {sorted(lengths)}",
            "stack the parameters of the starts",
        )
    return int(lengths.pop()[0])


def _positive(at_once: int) -> int:
    if at_once < 1:
        raise expected("1 start or more at once", at_once, "take 1")
    return at_once
