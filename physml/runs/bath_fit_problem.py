"""The fit of a bath: its options, what is fitted, and the two tasks of the run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from physml.dynamical_mean_field.bath import matsubara_frequencies
from physml.dynamical_mean_field.bath_form import BathParameters
from physml.dynamical_mean_field.bath_problem import (
    BathProblem,
    FittedName,
    WeightName,
    bath_problem,
)
from physml.dynamical_mean_field.bath_search import BathSearch, FitterName, bath_search
from physml.failures import expected
from physml.parallel import SERIAL, Communicator
from physml.runs.bath_fit_target import (
    BathTarget,
    discrete_target,
    read_target,
    semicircle_target,
)
from physml.runs.run import RunConfiguration
from physml.runs.tasks import Observe, Results, TasksComputation
from physml.training.compiled_loop import TrainingState, state_template
from physml.training.driver import TrainingSnapshot
from physml.training.records import Records

LEVELS, COUPLINGS = "levels", "couplings"


@dataclass(frozen=True, kw_only=True)
class BathFitConfiguration(RunConfiguration):
    """Options of the fit of a bath; energies in any one unit."""

    target: str = "semicircle"
    """semicircle: that of half bandwidth 1; discrete: a random bath of --hidden-sites;
    or an npz file with arrays `frequencies` and `hybridization`, the latter of one
    number or one matrix of orbitals for each frequency."""
    sites: int = 6
    """Levels of the bath."""
    beta: float = 20.0
    """Inverse temperature, in 1 / energy."""
    frequencies: int = 56
    """Positive Matsubara frequencies of semicircle and discrete."""
    hidden_sites: int = 4
    """Of the discrete bath, whose levels lie in [-1, 1]."""
    orbitals: int = 1
    """That the discrete bath couples to."""
    weight: WeightName | Literal["file"] = "one"
    """one; inverse_number: 1/n, n = 1, 2, ...; inverse_frequency: 1/w; file: the array
    `weights` of the npz file."""
    fitted: FittedName = "hybridization"
    """Or the Weiss field 1 / (z + mu - Delta)."""
    chemical_potential: float = 0.0
    """mu of the Weiss field, an energy."""
    power: float = 2.0
    """Of deviations in the distance, 1 or more."""
    symmetric: bool = False
    """Levels in pairs +-e with equal couplings."""
    sum_rule: float | Literal["file"] | None = None
    """What the squared couplings shall add up to, an energy^2; file: the array
    `sum_rule` of the npz file, a matrix for several orbitals. By default free."""
    starts: int = 20
    """Random starts; the first by AAA."""
    relocations: int = 10
    """Steps of vector fitting from each start."""
    optimizer: FitterName | None = None
    """By default dogleg for power 2, else lbfgs."""
    steps: int = 500
    """Of the optimizer, at most."""
    target_sha256: tyro.conf.Suppress[str | None] = None
    """Of the file, so that no run resumes with another; the run looks it up."""

    @classmethod
    def quick_defaults(cls) -> Self:
        """Return the defaults that --quick stands for."""
        return cls(sites=3, starts=4, quick=True)


@dataclass(frozen=True)
class BathTask:
    """One of the two minimizations of `BathSearch`."""

    name: str
    search: BathSearch

    @property
    def num_steps(self) -> int:
        """Steps of the optimizer."""
        return self.search.num_steps

    def perform(
        self, results: Results, observe: Observe, state: TrainingState | None
    ) -> BathParameters:
        """Fit the levels, or the couplings beside them."""

        def watch(snapshot: TrainingSnapshot, records: tuple[Records, ...]) -> bool:
            observe(snapshot.state, _rows(records))
            return False

        snapshot = None if state is None else TrainingSnapshot(0, state)
        options = {"observer": watch, "snapshot": snapshot}
        if self.name == LEVELS:
            form = self.search.problem.form
            if form.num_orbitals > 1 or not form.num_levels:  # nothing to minimize
                observe(None, [{"step": 1}])
            return self.search.fit_levels(**options)
        return self.search.fit_couplings(results[LEVELS], **options)

    def state_template(self, results: Results) -> TrainingState:
        """Return the shapes of a state."""
        search, starts = self.search, self.result_template(results)
        parameters = starts.levels if self.name == LEVELS else starts
        is_first = self.name == LEVELS
        stages = search.level_stages if is_first else search.coupling_stages
        dtype = search.problem.weights.dtype
        return state_template(parameters, dtype, stages[0], search.num_starts)

    def result_template(self, results: Results) -> BathParameters:
        """Return the shapes of the baths of all starts."""
        del results
        form, number = self.search.problem.form, self.search.num_starts
        dtype = self.search.problem.weights.dtype

        def zeros() -> BathParameters:
            parts = 2 if form.is_complex else 1
            couplings = (number, form.num_couplings, form.num_orbitals, parts)
            levels = jnp.zeros((number, form.num_levels), dtype)
            return BathParameters(levels, jnp.zeros(couplings, dtype))

        return jax.eval_shape(zeros)


def bath_fit_problem(
    configuration: BathFitConfiguration,
) -> tuple[BathTarget, BathProblem]:
    """Check the options, make or read what is fitted.

    Raises
    ------
    ValueError
        If an option is out of its range or the file can't be used.
    """
    c = configuration
    target = _target(c)
    problem = bath_problem(
        target.frequencies,
        target.hybridization,
        c.sites,
        weights=_weights(c, target),
        fitted=c.fitted,
        chemical_potential=c.chemical_potential,
        power=c.power,
        particle_hole_symmetric=c.symmetric,
        sum_rule=_sum_rule(c, target),
    )
    return target, problem


def bath_fit_computation(
    configuration: BathFitConfiguration,
    problem: BathProblem,
    communicator: Communicator = SERIAL,
) -> TasksComputation:
    """Return the two tasks of a fit, with the starts divided over the ranks."""
    c = configuration
    search = bath_search(
        problem,
        num_starts=c.starts,
        num_relocations=c.relocations,
        key=jax.random.key(c.seed),
        optimizer=c.optimizer,
        num_steps=c.steps,
        communicator=communicator,
    )
    tasks = (BathTask(LEVELS, search), BathTask(COUPLINGS, search))
    return TasksComputation(tasks, c.time_limit, communicator)


def _target(configuration: BathFitConfiguration) -> BathTarget:
    """Make or read what is fitted."""
    c = configuration
    if c.orbitals != 1 and c.target != "discrete":
        raise expected(
            "--orbitals with --target discrete",
            f"--orbitals {c.orbitals} with {c.target}",
            "leave it out, as a file has its own number",
        )
    frequencies = matsubara_frequencies(c.beta, c.frequencies)
    if c.target == "semicircle":
        return semicircle_target(frequencies)
    if c.target == "discrete":
        key = jax.random.fold_in(jax.random.key(c.seed), 1)
        return discrete_target(frequencies, c.hidden_sites, c.orbitals, key)
    return read_target(Path(c.target), c.beta)


def _of_file(given: np.ndarray | None, name: str, configuration: Any) -> np.ndarray:
    if given is None:
        raise expected(
            f"an array `{name}` in an npz file",
            f"none in {configuration.target}",
            "add it to the file, or give the option another value",
        )
    return given


def _weights(c: BathFitConfiguration, target: BathTarget) -> WeightName | np.ndarray:
    return _of_file(target.weights, "weights", c) if c.weight == "file" else c.weight


def _sum_rule(c: BathFitConfiguration, target: BathTarget) -> float | np.ndarray | None:
    if c.sum_rule == "file":
        return _of_file(target.sum_rule, "sum_rule", c)
    if c.sum_rule is not None and target.num_orbitals > 1:
        raise expected(
            "a matrix as the sum rule of several orbitals",
            c.sum_rule,
            "put it into the file as `sum_rule`, and give --sum-rule file",
        )
    return c.sum_rule


def _rows(records: tuple[Records, ...]) -> list[dict[str, Any]]:
    """Return a line for each record of each start, by steps."""
    rows = [
        {"step": int(step), "start": start, "loss": float(loss)}
        for start, own in enumerate(records)
        for step, loss in zip(own.step, own.value, strict=True)
        if np.isfinite(loss)  # of a start that fails others have lines
    ]
    return sorted(rows, key=lambda row: row["step"])
