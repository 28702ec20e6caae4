"""The fit of a bath: its options, what is fitted, and the two tasks of the run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from physml.dynamical_mean_field.bath import (
    Bath,
    matsubara_frequencies,
    semicircular_greens_function,
)
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
from physml.runs.run import RunConfiguration
from physml.runs.tasks import Observe, Results, TasksComputation
from physml.training.compiled_loop import TrainingState, state_template
from physml.training.driver import TrainingSnapshot
from physml.training.records import Records

LEVELS, COUPLINGS = "levels", "couplings"
ODD = 1e-6  # how far from odd beta w / pi may be, relative to itself


@dataclass(frozen=True, kw_only=True)
class BathFitConfiguration(RunConfiguration):
    """Options of the fit of a bath of one orbital; energies in any one unit."""

    target: str = "semicircle"
    """semicircle: that of half bandwidth 1; discrete: a random bath of --hidden-sites;
    or an npz file with arrays `frequencies` and `hybridization`."""
    sites: int = 6
    """Levels of the bath."""
    beta: float = 20.0
    """Inverse temperature, in 1 / energy."""
    frequencies: int = 56
    """Positive Matsubara frequencies of semicircle and discrete."""
    hidden_sites: int = 4
    """Of the discrete bath, whose levels lie in [-1, 1]."""
    weight: WeightName = "one"
    """one; inverse_number: 1/n, n = 1, 2, ...; inverse_frequency: 1/w."""
    fitted: FittedName = "hybridization"
    """Or the Weiss field 1 / (z + mu - Delta)."""
    chemical_potential: float = 0.0
    """mu of the Weiss field, an energy."""
    power: float = 2.0
    """Of deviations in the distance, 1 or more."""
    symmetric: bool = False
    """Levels in pairs +-e with equal couplings."""
    sum_rule: float | None = None
    """What the squared couplings shall add up to, an energy^2. By default free."""
    starts: int = 20
    """Random starts; the first by AAA."""
    relocations: int = 10
    """Steps of vector fitting from each start."""
    optimizer: FitterName | None = None
    """By default dogleg for power 2, else lbfgs."""
    steps: int = 500
    """Of the optimizer, at most."""

    @classmethod
    def quick_defaults(cls) -> Self:
        """Return the defaults that --quick stands for."""
        return cls(sites=3, starts=4, quick=True)


@dataclass(frozen=True)
class BathTarget:
    """A hybridization at Matsubara frequencies, and the bath that it came from."""

    frequencies: np.ndarray  # (num_points,)
    hybridization: np.ndarray  # (num_points,)
    hidden: Bath | None = None


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
            if not self.search.problem.form.num_levels:  # a single one, at zero
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
            couplings = (number, form.num_couplings, form.num_orbitals, 1)
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
        weights=c.weight,
        fitted=c.fitted,
        chemical_potential=c.chemical_potential,
        power=c.power,
        particle_hole_symmetric=c.symmetric,
        sum_rule=c.sum_rule,
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
    c = configuration
    makers: dict[str, Callable[[jax.Array], tuple[jax.Array, Bath | None]]] = {
        "semicircle": lambda z: (semicircular_greens_function(z), None),
        "discrete": lambda z: _discrete(c, z),
    }
    frequencies = matsubara_frequencies(c.beta, c.frequencies)
    if c.target not in makers:
        return _read(Path(c.target), c.beta)
    hybridization, hidden = makers[c.target](1j * jnp.asarray(frequencies))
    return BathTarget(frequencies, np.asarray(hybridization), hidden)


def _discrete(
    configuration: BathFitConfiguration, z: jax.Array
) -> tuple[jax.Array, Bath]:
    """Return a random bath, one level in each part of [-1, 1], and what it gives."""
    number = configuration.hidden_sites
    if number < 1:
        raise expected("1 hidden site or more", number, "raise --hidden-sites")
    keys = jax.random.split(jax.random.fold_in(jax.random.key(configuration.seed), 1))
    within = jax.random.uniform(keys[0], (number,), minval=0.2, maxval=0.8)
    levels = 2 * (jnp.arange(number) + within) / number - 1
    couplings = jax.random.uniform(keys[1], (number,), minval=0.2, maxval=0.6)
    hidden = Bath(levels, couplings)
    return hidden.hybridization(z), hidden


def _read(path: Path, beta: float) -> BathTarget:
    if path.suffix != ".npz" or not path.is_file():
        raise expected(
            "--target semicircle, discrete or an npz file that exists",
            path,
            "choose one of them",
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("frequencies", "hybridization")}
    except (KeyError, ValueError, OSError) as error:
        raise expected(
            f"arrays `frequencies` and `hybridization` in {path}",
            error,
            "write them with numpy.savez",
        ) from None
    target = BathTarget(**arrays)
    _require_matsubara(target, beta)
    return target


def _require_matsubara(target: BathTarget, beta: float) -> None:
    w, hybridization = target.frequencies, target.hybridization
    if w.ndim != 1 or w.shape != hybridization.shape or w.dtype.kind != "f":
        raise expected(
            "real frequencies and as many values of one orbital",
            f"{w.dtype} of shape {w.shape} and shape {hybridization.shape}",
            "mend the file",
        )
    numbers = w * beta / np.pi
    odd = 2 * np.round((numbers - 1) / 2) + 1
    is_matsubara = np.abs(numbers - odd) <= ODD * np.abs(odd)  # False for NaN
    if not is_matsubara.all() or not (w > 0).all():
        wrong = w[~(is_matsubara & (w > 0))][0]
        raise expected(
            f"positive Matsubara frequencies (2n + 1) pi / beta for --beta {beta:g}",
            wrong,
            "give the beta of the file",
        )


def _rows(records: tuple[Records, ...]) -> list[dict[str, Any]]:
    """Return a line for each record of each start."""
    return [
        {"step": int(step), "start": start, "loss": float(loss)}
        for start, own in enumerate(records)
        for step, loss in zip(own.step, own.value, strict=True)
    ]
