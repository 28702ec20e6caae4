"""Effective models of self-learning Monte Carlo, each learned from simpler ones.

The linear model is fitted by least squares, then one layer after the other is added to
what was learned before, from several random starts. The best start stays.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import RunFailure
from physml.parallel import SERIAL, Communicator
from physml.precision import default_float_dtype
from physml.runs.self_learning.data_tasks import DATA
from physml.runs.tasks import Observe, Results, Rows
from physml.training.compiled_loop import TrainingState, state_template
from physml.training.minimization import TrainingSnapshot
from physml.training.records import Records
from physml.training.regression import Regression
from physml.training.stages import Stage
from physml.training.starts import minimize_starts
from physml.training.stopping import StopRules

RECORD_EVERY = 5  # steps
STOP_RULES = StopRules(patience=10, improvement=1e-3)  # a thousandth in ten steps

Samples = tuple[jax.Array, jax.Array]  # spins and F/T
Model = Any  # a pytree of parameters that maps spins to F/T


class Fit(NamedTuple):
    """A learned model, and its errors of F/T."""

    model: Model
    train_mse: np.ndarray
    test_mse: np.ndarray
    test_variance: np.ndarray  # what is left without the mean error


@dataclass(frozen=True)
class DirectFit:
    """A model without minimization, in one step: a linear one, or one that was given.

    Parameters
    ----------
    name
        What is done, for people.
    samples
        Takes those to learn from, and those for tests, from the results before.
    fit
        Maps spins and F/T to the model; can be traced.
    """

    name: str
    samples: Callable[[Results], tuple[Samples, Samples]]
    fit: Callable[..., Model]

    @property
    def num_steps(self) -> int:
        """One."""
        return 1

    def perform(self, results: Results, observe: Observe, state: Any) -> Fit:
        """Find the model and its errors."""
        training, test = self.samples(results)
        fit = assessed(self.fit(*training), training, test)
        observe(state, [{"step": 1, "loss": float(fit.train_mse)}])
        return fit

    def state_template(self, results: Results) -> None:
        """Return no state: nothing is kept on the way."""
        del results

    def result_template(self, results: Results) -> Fit:
        """Return the shapes of the fit."""
        data = results[DATA]
        return _shapes(jax.eval_shape(self.fit, data.spins, data.free_energies))


@dataclass(frozen=True)
class Training:
    """The minimization of the mean squared error of F/T from several starts.

    Parameters
    ----------
    name
        What is done, for people.
    samples
        Takes those to learn from, and those for tests, from the results before.
    first_model
        Makes the model of a start from them and the start's number; can be traced.
    num_starts
        How many.
    stage
        The optimizer and its steps.
    communicator
        The ranks over which the samples are divided.
    """

    name: str
    samples: Callable[[Results], tuple[Samples, Samples]]
    first_model: Callable[[Results, jax.Array], Model]
    num_starts: int
    stage: Stage
    communicator: Communicator = SERIAL

    @property
    def num_steps(self) -> int:
        """Steps of the optimizer from each start."""
        return self.stage.num_steps

    def perform(
        self, results: Results, observe: Observe, state: TrainingState | None
    ) -> Fit:
        """Train from all starts; keep the best."""

        def watch(snapshot: TrainingSnapshot, records: tuple[Records, ...]) -> bool:
            observe(snapshot.state, _rows(records))
            return False

        training, test = self.samples(results)
        ends = minimize_starts(
            Regression(predicted, *training, self.communicator).loss(),
            self._starts(results),
            (self.stage,),
            stop_rules=STOP_RULES,
            record_every=RECORD_EVERY,
            observer=watch,
            snapshot=None if state is None else TrainingSnapshot(0, state),
            communicator=self.communicator,
        )
        if np.isnan(ends.values).all():
            raise RunFailure(
                f"In '{self.name}' the loss was not finite from any start: learn from "
                "more samples, or take more --starts."
            )
        return assessed(ends.best.parameters, training, test)

    def state_template(self, results: Results) -> TrainingState:
        """Return the shapes of a state."""
        starts = jax.eval_shape(self._starts, results)
        dtype = default_float_dtype()
        return state_template(starts, dtype, self.stage, self.num_starts)

    def result_template(self, results: Results) -> Fit:
        """Return the shapes of the fit."""
        number = jax.ShapeDtypeStruct((), int)
        return _shapes(jax.eval_shape(self.first_model, results, number))

    def _starts(self, results: Results) -> Model:
        """Return the models of all starts, each array with a first axis of starts."""
        numbers = jnp.arange(self.num_starts)
        return jax.vmap(partial(self.first_model, results))(numbers)


@jax.jit
def predicted(model: Model, spins: jax.Array) -> jax.Array:
    """Return F/T of a model, shape (samples,)."""
    return model(spins)


def assessed(model: Model, training: Samples, test: Samples) -> Fit:
    """Return a model with its errors."""
    train_errors, test_errors = (
        np.asarray(predicted(model, spins) - exact) for spins, exact in (training, test)
    )
    figures = (np.mean(train_errors**2), np.mean(test_errors**2), np.var(test_errors))
    return Fit(model, *map(np.asarray, figures))


def _rows(records: tuple[Records, ...]) -> Rows:
    """Return a line for each step, with the lowest loss of the starts under way."""
    losses: dict[int, list[float]] = {}
    for of_start in records:
        for step, loss in zip(of_start.step, of_start.value, strict=True):
            losses.setdefault(int(step), []).append(float(loss))
    return [{"step": step, "loss": min(losses[step])} for step in sorted(losses)]


def _shapes(model: Model) -> Fit:
    """Return the shapes of a fit of such a model."""
    number = np.zeros((), default_float_dtype())
    return Fit(model, number, number, number)
