"""Learn an effective spin Hamiltonian from energies, end to end.

A hidden model gives the energies of random spin configurations, with noise if wanted;
a model with parameters is fitted to them by least squares. What can be compared in the
end is what energies determine, the effective couplings.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import RunFailure
from physml.hamiltonians.smeared_heisenberg import SmearedHeisenberg
from physml.parallel import SERIAL, Communicator
from physml.precision import enable_x64
from physml.pullbacks import PullbackReport, check_pullback
from physml.runs.fit_problem import (
    FitConfiguration,
    FitExperiment,
    FitProblem,
    draw_samples,
    fit_problem,
)
from physml.runs.minimization import MinimizationComputation
from physml.runs.ranks import say_on_root
from physml.runs.run import Run, open_run
from physml.runs.tables import print_couplings
from physml.training.driver import MinimizeResult

CHECKED_SITES = 8  # of the chains on which the pullback is checked


def run_fit(
    configuration: FitConfiguration,
    make_experiment: Callable[[Any], FitExperiment],
    communicator: Communicator = SERIAL,
) -> MinimizeResult:
    """Learn the model and write result, records, pictures and checkpoint.

    Parameters
    ----------
    configuration
        The options.
    make_experiment
        Builds the experiment from the options.
    communicator
        The ranks over which the samples are divided; the root alone writes.

    Returns
    -------
    The minimization; its `parameters` are the model.

    Raises
    ------
    ValueError
        If an option is out of its range; nothing is written then.
    RunFailure
        If the run could not be finished, or the loss is above the noise of the
        energies; all is written then.
    """
    started = time.monotonic()
    enable_x64()
    experiment = make_experiment(configuration)
    say_on_root(communicator, experiment.title)
    problem = fit_problem(configuration, experiment, communicator)
    computation = MinimizationComputation(
        problem.stages,
        jax.eval_shape(experiment.initialize, jax.random.key(0)),
        problem.regression.targets.dtype,
    )
    run = open_run(
        experiment.name,
        configuration,
        computation,
        started=started,
        communicator=communicator,
    )
    if communicator.is_root:
        print(_checked_pullback(experiment, problem), flush=True)
    result = run.perform(problem.fit)
    if communicator.is_root:
        _report(run, experiment, configuration, result)
    if _is_above_noise(experiment, configuration, problem, result):
        raise RunFailure(
            "The loss is above the noise of the energies: a local minimum, or an "
            "unfinished fit; raise --starts, --start-deviation or --steps."
        )
    return result


def _checked_pullback(experiment: FitExperiment, problem: FitProblem) -> PullbackReport:
    """Check the derivatives that the fit uses, on two short chains."""

    def energy(model: SmearedHeisenberg, spins: jax.Array) -> jax.Array:
        return model(spins)

    spins = problem.regression.inputs[:2, :CHECKED_SITES]
    return check_pullback(energy, experiment.initialize(jax.random.key(0)), spins)


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
    floor = _noise_floor(configuration)
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


def _is_above_noise(
    experiment: FitExperiment,
    configuration: FitConfiguration,
    problem: FitProblem,
    result: MinimizeResult,
) -> bool:
    """Whether the model could be exact, and neither noise nor rounding explains it."""
    if experiment.hidden.reach > result.parameters.reach:
        return False
    rounding = 1e-12 * float(jnp.mean(problem.regression.targets**2))
    return result.value > 2 * _noise_floor(configuration) + rounding


def _noise_floor(configuration: FitConfiguration) -> float:
    """Return the loss that noise alone makes."""
    return (configuration.noise / configuration.sites) ** 2


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
