"""Self-learning Monte Carlo from data set to measurements, end to end."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from physml.failures import RunFailure
from physml.parallel import SERIAL, Communicator
from physml.precision import enable_x64
from physml.runs.model_files import save_model
from physml.runs.ranks import say_on_root
from physml.runs.run import Run, open_run
from physml.runs.self_learning.data_set import write_data_set
from physml.runs.self_learning.data_tasks import DATA
from physml.runs.self_learning.measurement import (
    correlation,
    free_energies,
    measured,
    predicted_acceptance,
)
from physml.runs.self_learning.problem import (
    SelfLearningConfiguration,
    SelfLearningProblem,
    physical_parameters,
    self_learning_problem,
)
from physml.runs.self_learning.tasks import (
    METROPOLIS,
    all_tasks,
    fit_name,
    measurement_name,
    model_names,
    num_sweeps_of_step,
    num_test_chains,
    num_trajectories,
)
from physml.runs.self_learning.training import predicted
from physml.runs.tables import print_methods
from physml.runs.tasks import Results, Rows, TasksComputation, TaskSnapshot

LARGEST_R_HAT = 1.05  # 1 where all chains agree
NAME, DATA_FILE = "self_learning_monte_carlo", "data.npz"


def run_self_learning(
    configuration: SelfLearningConfiguration, communicator: Communicator = SERIAL
) -> Results:
    """Make data, train models, measure; write result, records, pictures, checkpoint.

    Parameters
    ----------
    configuration
        The options.
    communicator
        The ranks over which chains and samples are divided; the root alone writes.

    Returns
    -------
    The results of all tasks by their names, see `physml.runs.self_learning.tasks`.

    Raises
    ------
    ValueError
        If an option is out of its range, or a data set can't be used; nothing is
        written then.
    RunFailure
        If the run could not be finished, or proposals had free energies that are not
        finite; all is written then.
    """
    started = time.monotonic()
    enable_x64()
    problem = self_learning_problem(configuration, communicator)
    say_on_root(communicator, _title(problem))
    computation = TasksComputation(
        all_tasks(problem), configuration.time_limit, communicator
    )
    run = open_run(
        NAME, configuration, computation, started=started, communicator=communicator
    )
    results = run.perform(partial(_compute, run, problem, computation))
    rows = _rows(problem, results)
    if communicator.is_root:
        _report(run, problem, results, rows)
    _require_finite(rows)
    return results


def _title(problem: SelfLearningProblem) -> str:
    options = problem.configuration
    sites = " x ".join(map(str, problem.lattice.shape))
    return (
        f"Spins and electrons on a {options.lattice} lattice of {sites} sites, "
        f"J = {options.coupling:g}, T = {options.temperature:g}: "
        f"models with 0 to {options.layers} layers"
    )


def _rows(problem: SelfLearningProblem, results: Results) -> dict[str, dict[str, Any]]:
    """Return the entries of result.json by the names of the methods."""
    metropolis = results[measurement_name(METROPOLIS)]
    rows = {METROPOLIS: measured(metropolis, "local", num_sweeps_of_step(problem))}
    for layers, name in model_names(problem).items():
        fit = results[fit_name(problem, name)]
        first = results[f"training, {name}"]
        rows[name] = {
            "layers": layers,
            "shells": problem.configuration.shells,
            "num_parameters": fit.model.num_parameters,
            "train_mse": float(fit.train_mse),
            "test_mse": float(fit.test_mse),
            "first_round_test_mse": float(first.test_mse),
            "trajectories": num_trajectories(problem, name, results),
            "predicted_acceptance": predicted_acceptance(float(fit.test_variance)),
            **measured(results[measurement_name(name)], "self_learning"),
        }
    return rows


def _report(
    run: Run,
    problem: SelfLearningProblem,
    results: Results,
    rows: dict[str, dict[str, Any]],
) -> None:
    """Write series, pictures and result; print the table."""
    _write_series(run, problem, results)
    _draw(run, problem, results, rows)
    print_methods(rows)
    if rows[METROPOLIS]["staggered_magnetization"] is None:
        print("This lattice has no two sublattices: no staggered magnetization.")
    _warn_of_memory(rows)
    models = [rows[name] for name in model_names(problem).values()]
    run.finish({"metropolis": rows[METROPOLIS], "models": models})


def _compute(
    run: Run,
    problem: SelfLearningProblem,
    computation: TasksComputation,
    *,
    observer: Callable[..., bool],
    snapshot: TaskSnapshot | None,
) -> Results:
    """Perform the tasks, and write the files of each when it is finished."""

    def watch(snapshot: TaskSnapshot, rows: Rows) -> bool:
        if snapshot.state is None and run.communicator.is_root:
            _write_files(run.folder.path, problem, snapshot.results)
        return observer(snapshot, rows)

    return computation.compute(watch, snapshot)


def _write_files(folder: Path, problem: SelfLearningProblem, results: Results) -> None:
    """Write data set and models, as far as they are there and were made here."""
    data = folder / DATA_FILE
    if problem.given_data is None and not data.exists():
        options = problem.configuration
        making = {
            "seed": options.seed,
            "training_chains": options.chains,
            "test_chains": num_test_chains(problem),
            "sweeps_of_burn_in": options.burn_in,
            "sweeps_between_configurations": options.interval,
        }
        write_data_set(data, results[DATA], physical_parameters(problem), making)
    for layers, name in model_names(problem).items():
        path, fit = folder / model_file(layers), results.get(fit_name(problem, name))
        if problem.given_model is None and fit is not None and not path.exists():
            errors = {"train_mse": fit.train_mse, "test_mse": fit.test_mse}
            figures = {name: float(value) for name, value in errors.items()}
            save_model(path, fit.model, physical_parameters(problem) | figures)


def model_file(layers: int) -> str:
    """Return the name of the file of a model."""
    return f"model_{layers}.npz"


def _write_series(run: Run, problem: SelfLearningProblem, results: Results) -> None:
    """Write what each step of all chains has measured."""
    arrays = {}
    for name in (METROPOLIS, *model_names(problem).values()):
        sampled = results[measurement_name(name)]
        arrays[f"{name}/free_energy_over_temperature"] = free_energies(sampled)
        for observable, values in sampled.values.items():
            if observable != "log_density":
                arrays[f"{name}/{observable}"] = np.asarray(values)
    run.folder.write_arrays("series.npz", **arrays)


def _draw(
    run: Run,
    problem: SelfLearningProblem,
    results: Results,
    rows: dict[str, dict[str, Any]],
) -> None:
    # half a second of import time that the first line need not wait for
    from physml.runs.self_learning.pictures import (
        draw_free_energies,
        draw_observables,
        draw_scaling,
        draw_time_series,
    )

    folder, names = run.folder.path, list(model_names(problem).values())
    spins, exact = results[DATA].part(is_test=True)
    models = {name: results[fit_name(problem, name)].model for name in names}
    learned = {n: np.asarray(predicted(model, spins)) for n, model in models.items()}
    draw_scaling(folder / "scaling.png", [rows[name] for name in names])
    draw_free_energies(folder / "free_energies.png", np.asarray(exact), learned)
    draw_observables(folder / "observables.png", rows)
    sampled = {name: results[measurement_name(name)] for name in rows}
    draw_time_series(
        folder / "time_series.png",
        {name: free_energies(chains)[0] for name, chains in sampled.items()},
        {name: correlation(chains) for name, chains in sampled.items()},
        {METROPOLIS: num_sweeps_of_step(problem)},
    )


def _warn_of_memory(rows: dict[str, dict[str, Any]]) -> None:
    """Name the methods whose chains have not forgotten where they started."""
    slow = [
        name
        for name, row in rows.items()
        if row["split_r_hat"] is None or row["split_r_hat"] > LARGEST_R_HAT
    ]
    if slow:
        print(
            f"Chains disagree (split R-hat above {LARGEST_R_HAT}): {', '.join(slow)}; "
            "their errors are too small: raise --burn-in, --sweeps or --proposals."
        )


def _require_finite(rows: dict[str, dict[str, Any]]) -> None:
    bad = [name for name, row in rows.items() if row["num_not_finite"]]
    if bad:
        raise RunFailure(
            f"Proposals of {', '.join(bad)} had free energies that are not finite and "
            "were refused: learn from more samples, or take fewer layers."
        )
