"""Effective models of self-learning Monte Carlo, each learned from simpler ones.

The linear model is fitted by least squares, then one layer after the other is added to
what was learned before, from several random starts. The best start stays.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from physml.failures import RunFailure
from physml.parallel import SERIAL, Communicator
from physml.precision import default_float_dtype
from physml.runs.tasks import Observe, Results, Rows
from physml.training.compiled_loop import TrainingState, state_template
from physml.training.minimization import MinimizeResult, TrainingSnapshot, minimize
from physml.training.records import Records
from physml.training.regression import Regression
from physml.training.stages import Stage
from physml.training.stopping import StopRules

RECORD_EVERY = 5  # steps
STOP_RULES = StopRules(patience=10, improvement=1e-3)  # a thousandth in ten steps

Samples = tuple[jax.Array, jax.Array]  # spins and F/T
Model = Any  # a pytree of parameters that maps spins to F/T


class Fit(NamedTuple):
    """A learned model, and its mean squared errors of F/T."""

    model: Model
    train_mse: jax.Array
    test_mse: jax.Array


class StartsDone(NamedTuple):
    """How many starts have ended, and the best of them."""

    number: jax.Array
    model: Model
    loss: jax.Array  # infinite before the first has ended


class FitState(NamedTuple):
    """Where a training stands: within the start after those that have ended."""

    done: StartsDone
    training: TrainingState


@dataclass(frozen=True)
class GivenModel:
    """A model that was read from a file: it is assessed.

    Parameters
    ----------
    name
        What is done, for people.
    samples
        Takes samples, and those for tests, from the results before.
    model
        What was read.
    """

    name: str
    samples: Callable[[Results], tuple[Samples, Samples]]
    model: Model

    @property
    def num_steps(self) -> int:
        """One."""
        return 1

    def perform(self, results: Results, observe: Observe, state: Any) -> Fit:
        """Compute the errors."""
        fit = assessed(self.model, *self.samples(results))
        observe(state, [{"step": 1, "loss": float(fit.train_mse)}])
        return fit

    def state_template(self, results: Results) -> None:
        """Return no state: nothing is kept on the way."""
        del results

    def result_template(self, results: Results) -> Fit:
        """Return the shapes of the fit."""
        del results
        return _shapes(jax.eval_shape(lambda: self.model))


@dataclass(frozen=True)
class LeastSquares:
    """The fit of a linear model, in one step.

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
        """Solve the equations."""
        training, test = self.samples(results)
        fit = assessed(self.fit(*training), training, test)
        observe(state, [{"step": 1, "loss": float(fit.train_mse)}])
        return fit

    def state_template(self, results: Results) -> None:
        """Return no state: nothing is kept on the way."""
        del results

    def result_template(self, results: Results) -> Fit:
        """Return the shapes of the fit."""
        data = results["data set"]
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
        """Steps of the optimizer, from all starts together."""
        return self.num_starts * self.stage.num_steps

    def perform(
        self, results: Results, observe: Observe, state: FitState | None
    ) -> Fit:
        """Train from one start after the other."""
        training, test = self.samples(results)
        regression = Regression(apply, *training, self.communicator)
        done, under_way = self._start(results) if state is None else state
        while int(done.number) < self.num_starts:
            model = self.first_model(results, done.number)
            result = self._minimize(regression, model, observe, done, under_way)
            done, under_way = _with_another(done, result), None
        return assessed(done.model, training, test)

    def state_template(self, results: Results) -> FitState:
        """Return the shapes of a state."""
        done, _ = jax.eval_shape(self._start, results)
        training = state_template(done.model, done.loss.dtype, self.stage)
        return FitState(done, training)

    def result_template(self, results: Results) -> Fit:
        """Return the shapes of the fit."""
        return _shapes(self.state_template(results).done.model)

    def _start(self, results: Results) -> tuple[StartsDone, None]:
        """Return what is there before the first step; can be traced."""
        first, infinity = jnp.zeros((), int), jnp.full((), jnp.inf)
        return StartsDone(first, self.first_model(results, first), infinity), None

    def _minimize(
        self,
        regression: Regression,
        model: Model,
        observe: Observe,
        done: StartsDone,
        under_way: TrainingState | None,
    ) -> MinimizeResult:
        """Train from one start, or go on with it."""

        def watch(snapshot: TrainingSnapshot, records: Records) -> bool:
            observe(FitState(done, snapshot.state), self._rows(done, records))
            return False

        result = minimize(
            regression.loss(),
            model,
            (self.stage,),
            stop_rules=STOP_RULES,
            record_every=RECORD_EVERY,
            observer=watch,
            snapshot=None if under_way is None else TrainingSnapshot(0, under_way),
            communicator=self.communicator,
        )
        if result.outcome.is_failure:
            raise RunFailure(f"In '{self.name}' training {result.outcome.sentence}.")
        return result

    def _rows(self, done: StartsDone, records: Records) -> Rows:
        """Return a line for each record."""
        start = int(done.number)
        before = start * self.stage.num_steps
        return [
            {"step": before + int(step), "start": start, "loss": float(loss)}
            for step, loss in zip(records.step, records.value, strict=True)
        ]


def apply(model: Model, spins: jax.Array) -> jax.Array:
    """Return F/T of a model, shape (samples,)."""
    return model(spins)


def assessed(model: Model, training: Samples, test: Samples) -> Fit:
    """Return a model with its mean squared errors."""
    errors = (_mean_squared_error(model, *samples) for samples in (training, test))
    return Fit(model, *errors)


@jax.jit
def _mean_squared_error(model: Model, spins: jax.Array, exact: jax.Array) -> jax.Array:
    return jnp.mean((apply(model, spins) - exact) ** 2)


def _with_another(done: StartsDone, result: MinimizeResult) -> StartsDone:
    """Count a start, and keep the better model."""
    if result.value < float(done.loss):
        loss = jnp.asarray(result.value, done.loss.dtype)
        return StartsDone(done.number + 1, result.parameters, loss)
    return done._replace(number=done.number + 1)


def _shapes(model: Model) -> Fit:
    """Return the shapes of a fit of such a model."""
    number = jax.eval_shape(lambda: jnp.zeros((), default_float_dtype()))
    return Fit(model, number, number)
