"""The fit of a spin Hamiltonian: its options, its samples, and what is minimized.

The loss is the mean squared error of the energies for each site. Samples, starts and
batches depend on the seed and on their own numbers alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from physml.failures import expected
from physml.hamiltonians.heisenberg import random_spins
from physml.hamiltonians.smeared_heisenberg import SmearedHeisenberg
from physml.parallel import SERIAL, Communicator
from physml.runs.minimization import minimize_regression
from physml.runs.run import RunConfiguration
from physml.training.driver import MinimizeResult
from physml.training.regression import Regression, best_of_random_starts
from physml.training.stages import OptimizerName, Stage, optimizer_stages
from physml.training.stopping import StopRules


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
    """Configurations that each step of Adam or AdamW sees; the others see them all."""
    starts: int = 256
    """Random starts, of which the one with the lowest loss is taken."""
    optimizer: OptimizerName = "lbfgs"
    """lbfgs: a short start with Adam, then L-BFGS; the others: this alone."""
    steps: int = 4000
    """Optimizer steps, at most."""
    learning_rate: float = 1e-2
    """First learning rate of Adam and AdamW."""
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
        return minimize_regression(
            "The fit",
            self.regression,
            self.initialize() if is_new else None,
            self.stages,
            self.stop_rules,
            **options,
        )


def fit_problem(
    configuration: FitConfiguration,
    experiment: FitExperiment,
    communicator: Communicator = SERIAL,
) -> FitProblem:
    """Draw the samples and set up the fit that the options describe."""
    _require_in_range(configuration, experiment)
    training = draw_samples(configuration, experiment.hidden, "training")
    sites = configuration.sites
    regression = Regression(
        lambda model, spins: model(spins) / sites,
        training.spins,
        training.energies / sites,
        communicator,
    )
    _require_finite(regression.targets)
    batch_loss = regression.batch_loss(
        configuration.batch, random_key(configuration.seed, "batches")
    )
    initialize = partial(best_start, configuration, experiment.initialize, regression)
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
    regression: Regression,
) -> SmearedHeisenberg:
    """Return the best of random models, each with the coupling that suits it best.

    Judged by as many samples as a batch has.
    """
    spins = regression.inputs[: configuration.batch]
    targets = regression.targets[: configuration.batch]  # for each site
    return best_of_random_starts(
        Regression(regression.function, spins, targets).loss(),
        lambda key: initialize(key).with_best_coupling(
            spins, targets * configuration.sites
        ),
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
