"""Find the impurities that make a given map of local densities of states."""

import time

import jax
import numpy as np

from physml.failures import RunFailure
from physml.parallel import SERIAL, Communicator
from physml.precision import enable_x64
from physml.pullbacks import check_pullback
from physml.runs.inverse_design_problem import (
    InverseDesignConfiguration,
    InverseDesignProblem,
    inverse_design_problem,
)
from physml.runs.minimization import MinimizationComputation
from physml.runs.ranks import say_on_root
from physml.runs.run import Run, open_run
from physml.training.driver import MinimizeResult

FOUND = 1e-6  # largest error of potentials that count as found


def run_inverse_design(
    configuration: InverseDesignConfiguration, communicator: Communicator = SERIAL
) -> MinimizeResult:
    """Search, and write result, records, pictures and checkpoint.

    Parameters
    ----------
    configuration
        The options.
    communicator
        The ranks over which the energies are divided; the root alone writes.

    Returns
    -------
    The minimization; its `parameters` are the potentials.

    Raises
    ------
    ValueError
        If an option is out of its range; nothing is written then.
    RunFailure
        If the run could not be finished, or the potentials are not found; all is
        written then.
    """
    started = time.monotonic()
    enable_x64()
    problem = inverse_design_problem(configuration, communicator)
    say_on_root(
        communicator,
        f"{configuration.impurities} impurities on a {configuration.lattice} of "
        f"{problem.hidden.size} sites, from {configuration.energies} energies of the "
        "local density of states of each",
    )
    run = open_run(
        "ldos_inverse_design",
        configuration,
        MinimizationComputation(
            problem.stages,
            jax.eval_shape(lambda: problem.start),
            problem.hidden_map.dtype,
        ),
        started=started,
        communicator=communicator,
    )
    if communicator.is_root:
        # one direction: each takes tens of maps
        print(check_pullback(problem.map, problem.start, directions=1), flush=True)
    result = run.perform(problem.solve)
    if communicator.is_root:
        _report(run, problem, result)
    error = _largest_error(problem, result)
    if error > FOUND:
        raise RunFailure(
            f"The potentials are not found, the largest error is {error:.1e}: a local "
            "minimum, or an unfinished search; raise --first-broadening, --steps or "
            "--energies."
        )
    return result


def _largest_error(problem: InverseDesignProblem, result: MinimizeResult) -> float:
    return float(np.abs(result.parameters - problem.hidden).max())


def _report(run: Run, problem: InverseDesignProblem, result: MinimizeResult) -> None:
    """Write the result and the pictures, print the table."""
    # half a second of import time that the first line need not wait for
    from physml.runs.inverse_design_pictures import draw_maps, draw_potentials
    from physml.runs.pictures import draw_minimization

    hidden, found = np.asarray(problem.hidden), np.asarray(result.parameters)
    found_map = np.asarray(problem.map(result.parameters))
    folder = run.folder.path
    shape = problem.hamiltonian.geometry.shape
    draw_maps(
        folder / "maps.png",
        np.asarray(problem.energies),
        np.asarray(problem.hidden_map),
        found_map,
    )
    draw_potentials(folder / "potentials.png", hidden, found, shape)
    labels = (
        "mean squared difference from\nthe given map (1 / energy$^2$)",
        "norm of its gradient (1 / energy$^3$)",
    )
    draw_minimization(folder / "convergence.png", run.rows, labels)
    error = _largest_error(problem, result)
    print(_table(hidden, found))
    print(f"Largest error {error:.1e}; after {result.steps} steps {result.outcome}.")
    run.finish(
        {
            "hidden_potentials": hidden.tolist(),
            "found_potentials": found.tolist(),
            "max_error": error,
            "loss": result.value,
            "gradient": result.measure,
            "iterations": result.steps,
            "outcome": result.outcome.name.lower(),
        }
    )


def _table(hidden: np.ndarray, found: np.ndarray) -> str:
    """Return a line for each hidden impurity."""
    lines = ["site    hidden potential        found"]
    for site in np.flatnonzero(hidden):
        lines.append(f"{site:4d}  {hidden[site]:18.12f}  {found[site]:18.12f}")
    return "\n".join(lines)
