r"""Learn an effective spin Hamiltonian from energies, end to end.

A hidden model gives the energies of random spin configurations, with noise if wanted;
a model with parameters is fitted to them by least squares. What can be compared in the
end is what energies determine, the effective couplings.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import RunFailure, expected
from physml.hamiltonians.heisenberg import random_spins
from physml.hamiltonians.smeared_heisenberg import SmearedHeisenberg
from physml.precision import enable_x64
from physml.pullbacks import PullbackReport, check_pullback
from physml.runs.run import Run, RunConfiguration, Standing, open_run
from physml.runs.tables import print_couplings
from physml.training.compiled_loop import state_template
from physml.training.minimization import (
    MinimizeResult,
    TrainingSnapshot,
    minimize,
)
from physml.training.records import Records
from physml.training.regression import Regression, best_of_random_starts
from physml.training.stages import OptimizerName, Stage, optimizer_stages
from physml.training.stopping import StopRules

CHECKED_SITES = (
    8  # of the chain on which the pullback is checked: as good as a long one
)


@dataclass(frozen=True, kw_only=True)
class FitConfiguration(RunConfiguration):
    """Options of every experiment that learns a spin Hamiltonian on a chain."""

    sites: int = 64
    """Sites of the periodic chain."""
    samples: int = 512
    """Spin configurations to learn from; as many others test the result."""
    noise: float = 0.0
    """Standard deviation of the noise of each energy that is learned from, in units of
    energy."""
    batch: int = 64
    """Configurations that each step of Adam sees; L-BFGS sees them all."""
    starts: int = 256
    """Random starts, of which the one with the lowest loss is taken."""
    optimizer: OptimizerName = "lbfgs"
    """lbfgs: a start with Adam, then L-BFGS; adam: Adam alone."""
    steps: int = 4000
    """Optimizer steps, at most."""
    learning_rate: float = 1e-2
    """First learning rate of Adam."""
    target_gradient: float = 1e-14
    """Done when the gradient of the loss has this norm, in units of energy."""


@dataclass(frozen=True)
class FitExperiment:
    """What is hidden, and how a model that shall find it starts.

    Parameters
    ----------
    name
        Of the experiment, for result.json and the folder.
    title
        A line of text that says what is learned.
    hidden
        The model that gives the energies.
    initialize
        Maps a JAX random key to a model.
    """

    name: str
    title: str
    hidden: SmearedHeisenberg
    initialize: Callable[[jax.Array], SmearedHeisenberg]


class Samples(NamedTuple):
    """Spin configurations (samples, sites, 3) and their energies (samples,)."""

    spins: jax.Array
    energies: jax.Array


@dataclass(frozen=True)
class FitProblem:
    """What is minimized, and how."""

    initialize: Callable[[], SmearedHeisenberg]
    regression: Regression  # of the energies for each site, with their noise
    stages: tuple[Stage, ...]
    stop_rules: StopRules

    def fit(self, **options: Any) -> MinimizeResult:
        """Minimize the mean squared error; `observer`, `snapshot` as in `minimize`."""
        is_new = options.get("snapshot") is None
        result = minimize(
            self.regression.loss(),
            self.initialize() if is_new else None,
            self.stages,
            stop_rules=self.stop_rules,
            **options,
        )
        if result.outcome.is_failure:
            raise RunFailure(f"The fit {result.outcome.sentence}.")
        return result


def run_fit(
    configuration: FitConfiguration,
    make_experiment: Callable[[Any], FitExperiment],
) -> MinimizeResult:
    """Learn the model and write result, records, pictures and checkpoint.

    Parameters
    ----------
    configuration
        The options.
    make_experiment
        Builds the experiment from the options.

    Returns
    -------
    The minimization; its `parameters` are the model.

    Raises
    ------
    ValueError
        If an option is out of its range; nothing is written then.
    RunFailure
        If the run could not be finished.
    """
    started = time.monotonic()
    enable_x64()
    experiment = make_experiment(configuration)
    print(experiment.title, flush=True)
    problem = fit_problem(configuration, experiment)
    computation = _FitComputation(problem, experiment)
    run = open_run(experiment.name, configuration, computation, started=started)
    print(_checked_pullback(experiment, problem), flush=True)
    result = run.perform(problem.fit)
    _report(run, experiment, configuration, result)
    return result


def fit_problem(
    configuration: FitConfiguration, experiment: FitExperiment
) -> FitProblem:
    """Draw the samples and set up the fit that the options describe."""
    _require_in_range(configuration, experiment)
    training = draw_samples(configuration, experiment.hidden, "training")
    sites = configuration.sites
    regression = Regression(
        lambda model, spins: model(spins) / sites,
        training.spins,
        training.energies / sites,
    )
    _require_finite(regression.targets)
    batch_loss = regression.batch_loss(
        configuration.batch, random_key(configuration.seed, "batches")
    )
    initialize = partial(
        best_start, configuration, experiment.initialize, training, batch_loss
    )
    stages = optimizer_stages(
        configuration.optimizer,
        num_steps=configuration.steps,
        learning_rate=configuration.learning_rate,
        batch_loss=batch_loss,
    )
    rules = StopRules(
        target=configuration.target_gradient, time_limit=configuration.time_limit
    )
    return FitProblem(initialize, regression, stages, rules)


def draw_samples(
    configuration: FitConfiguration,
    hidden: SmearedHeisenberg,
    purpose: Literal["training", "test"],
) -> Samples:
    """Draw random spins, and the hidden model's energies; noise only for training.

    Sample i depends on the seed and on i alone, not on how many there are.
    """
    key = random_key(configuration.seed, purpose)
    noise = configuration.noise if purpose == "training" else 0.0

    def draw(number: jax.Array) -> Samples:
        spins_key, noise_key = jax.random.split(jax.random.fold_in(key, number))
        spins = random_spins(spins_key, configuration.sites)
        return Samples(spins, noise * jax.random.normal(noise_key))

    spins, errors = jax.jit(jax.vmap(draw))(jnp.arange(configuration.samples))
    return Samples(spins, jax.jit(hidden.__call__)(spins) + errors)


def best_start(
    configuration: FitConfiguration,
    initialize: Callable[[jax.Array], SmearedHeisenberg],
    training: Samples,
    batch_loss: Callable[..., jax.Array],
) -> SmearedHeisenberg:
    """Return the best of random models, each with the coupling that suits it best."""
    batch = jax.tree.map(lambda leaf: leaf[: configuration.batch], training)
    return best_of_random_starts(
        partial(batch_loss, step=0),
        lambda key: initialize(key).with_best_coupling(*batch),
        random_key(configuration.seed, "start"),
        configuration.starts,
    )


def random_key(seed: int, purpose: str) -> jax.Array:
    """Return the random key of one purpose of a run."""
    purposes = ("hidden", "start", "training", "test", "batches")
    return jax.random.fold_in(jax.random.key(seed), purposes.index(purpose))


def _require_in_range(
    configuration: FitConfiguration, experiment: FitExperiment
) -> None:
    model = jax.eval_shape(experiment.initialize, jax.random.key(0))
    reach = max(model.reach, experiment.hidden.reach)
    if configuration.sites <= 2 * reach:
        raise expected(
            f"more than {2 * reach} sites, twice the reach of the couplings",
            configuration.sites,
            "on a shorter chain distances cannot be told apart; raise --sites",
        )
    if configuration.samples <= reach:
        raise expected(
            f"more than {reach} samples, one for each effective coupling",
            configuration.samples,
            "raise --samples",
        )
    if not 0 <= configuration.noise < float("inf"):
        raise expected("noise >= 0", configuration.noise, "0 for none")
    if configuration.starts < 1:
        raise expected("1 random start or more", configuration.starts, "raise --starts")


def _require_finite(targets: jax.Array) -> None:
    """Refuse energies so large that their squares overflow."""
    if not jnp.isfinite(jnp.sum(targets**2)):
        raise expected(
            "energies with finite squares",
            f"{float(jnp.abs(targets).max()):.1e} for each site",
            "choose a larger unit of energy",
        )


def _checked_pullback(experiment: FitExperiment, problem: FitProblem) -> PullbackReport:
    """Check the derivatives that the fit uses, on two short chains."""

    def energy(model: SmearedHeisenberg, spins: jax.Array) -> jax.Array:
        return model(spins)

    spins = problem.regression.inputs[:2, :CHECKED_SITES]
    return check_pullback(energy, experiment.initialize(jax.random.key(0)), spins)


@dataclass(frozen=True)
class _FitComputation:
    """How a fit is written to records and checkpoints."""

    problem: FitProblem
    experiment: FitExperiment

    @property
    def num_steps(self) -> int:
        """The most steps that the run may take."""
        return sum(stage.num_steps for stage in self.problem.stages)

    def rows(
        self, snapshot: TrainingSnapshot, records: Records
    ) -> list[dict[str, Any]]:
        """Return a line for each record."""
        name = self.problem.stages[snapshot.stage].name
        return [
            {"stage": name, "step": int(s), "loss": float(e), "gradient": float(g)}
            for s, e, g in zip(*records, strict=True)
        ]

    def standing(self, row: dict[str, Any]) -> Standing:
        """Say at which step, and how good."""
        return Standing(
            f"at step {row['step']}",
            row["step"],
            f"{row['stage']}  step {row['step']:5d}  loss {row['loss']:.3e}  "
            f"gradient {row['gradient']:.1e}",
        )

    def pack(self, snapshot: TrainingSnapshot) -> tuple[Any, dict[str, Any]]:
        """Take the state of training."""
        return snapshot.state, {"stage": snapshot.stage}

    def template(self, information: dict[str, Any]) -> Any:
        """Return the shapes of what `pack` took."""
        model = jax.eval_shape(self.experiment.initialize, jax.random.key(0))
        stage = self.problem.stages[information["stage"]]
        return state_template(model, self.problem.regression.targets.dtype, stage)

    def unpack(self, tree: Any, information: dict[str, Any]) -> TrainingSnapshot:
        """Return the snapshot again."""
        return TrainingSnapshot(information["stage"], tree)


def _report(
    run: Run,
    experiment: FitExperiment,
    configuration: FitConfiguration,
    result: MinimizeResult,
) -> None:
    """Write the result and the pictures, print the table."""
    # half a second of import time that the first line need not wait for
    from physml.runs.pictures import draw_fit, draw_fit_convergence

    hidden, learned = experiment.hidden, result.parameters
    couplings = _padded(hidden.couplings(), learned.couplings())
    test = draw_samples(configuration, hidden, "test")
    predicted = learned(test.spins)
    sites = configuration.sites
    draw_fit(
        run.folder.path / "fit.png",
        np.asarray(test.energies) / sites,
        np.asarray(predicted) / sites,
        couplings,
    )
    floor = (configuration.noise / sites) ** 2
    draw_fit_convergence(run.folder.path / "convergence.png", run.rows, floor)
    print_couplings(*couplings)
    coefficients = _compared_coefficients(hidden, learned)
    print(_what_is_compared(hidden, learned, coefficients["max_coefficient_error"]))
    error = float(np.abs(couplings[0] - couplings[1]).max())
    print(f"Largest error {error:.1e}; after {result.steps} steps {result.outcome}.")
    run.finish(
        {
            "hidden_couplings": couplings[0].tolist(),
            "learned_couplings": couplings[1].tolist(),
            "max_error": error,
            **coefficients,
            "loss": result.value,
            "gradient": result.measure,
            "test_error": float(jnp.sqrt(jnp.mean((predicted - test.energies) ** 2))),
            "iterations": result.steps,
            "outcome": result.outcome.name.lower(),
        }
    )


def _padded(*rows: jax.Array) -> np.ndarray:
    """Stack vectors, filled up with zeros to the longest."""
    length = max(row.size for row in rows)
    return np.stack([np.pad(row, (0, length - row.size)) for row in rows])


def _compared_coefficients(
    hidden: SmearedHeisenberg, learned: SmearedHeisenberg
) -> dict[str, Any]:
    """Return both models' parameters, and their error where energies determine it."""
    error, are_single = None, len(hidden.coefficients) == len(learned.coefficients) == 1
    if are_single and hidden.reach <= learned.reach:
        rows = _padded(*hidden.coefficients, *learned.coefficients)
        error = float(np.abs(rows[0] - rows[1]).max())
    return {
        "hidden_coefficients": [row.tolist() for row in hidden.coefficients],
        "learned_coefficients": [row.tolist() for row in learned.coefficients],
        "max_coefficient_error": error,
    }


def _what_is_compared(
    hidden: SmearedHeisenberg, learned: SmearedHeisenberg, error: float | None
) -> str:
    if error is not None:
        return (
            "The energies determine the coefficients of one smearing: their largest "
            f"error is {error:.1e}."
        )
    if hidden.reach > learned.reach:
        return (
            f"The hidden couplings reach to r = {hidden.reach}, the model's to r = "
            f"{learned.reach}: the learned ones are the best of the model, not exact."
        )
    return (
        "Stacked smearings commute, so that several sets of coefficients give the same "
        "energies: compared are the effective couplings."
    )
