"""Run a map of local densities of states, end to end: result, arrays, pictures."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from physml.failures import RunFailure
from physml.greens_functions.sum_rule import resolution_error
from physml.parallel import SERIAL, Communicator
from physml.precision import enable_x64
from physml.runs.map_computation import (
    DensityMap,
    MapConfiguration,
    MapExperiment,
    map_computation,
)
from physml.runs.ranks import say_on_root
from physml.runs.run import Run, open_run


def run_map(
    configuration: MapConfiguration,
    make_experiment: Callable[[Any], MapExperiment],
    communicator: Communicator = SERIAL,
) -> DensityMap:
    """Compute the map and write result, arrays, records, pictures and checkpoint.

    Parameters
    ----------
    configuration
        The options.
    make_experiment
        Builds the experiment from the options.
    communicator
        The ranks over which sites or energies are divided; the root alone writes.

    Raises
    ------
    ValueError
        If an option is out of its range; nothing is written then.
    RunFailure
        If the run could not be finished, or an element is above the tolerance; all is
        written then.
    """
    started = time.monotonic()
    enable_x64()
    experiment = make_experiment(configuration)
    say_on_root(communicator, experiment.title)
    computation = map_computation(configuration, experiment, communicator)
    run = open_run(
        experiment.name,
        configuration,
        computation,
        started=started,
        communicator=communicator,
    )
    say_on_root(communicator, computation.sentence)
    density = computation.density_map(run.perform(computation.compute))
    if communicator.is_root:
        _report(run, experiment, configuration, density)
    if density.num_failed:
        raise RunFailure(_shortfall(configuration, density))
    return density


def _shortfall(configuration: MapConfiguration, density: DensityMap) -> str:
    return (
        f"{density.num_failed} elements of the map are above the tolerance of "
        f"{configuration.tolerance:g}, the largest residual is "
        f"{density.max_relative_residual:.1e}: raise --tolerance or --broadening, or "
        "choose another --method; the map is written all the same."
    )


def _report(
    run: Run,
    experiment: MapExperiment,
    configuration: MapConfiguration,
    density: DensityMap,
) -> None:
    """Write the arrays, the result and the pictures, and say how good the map is."""
    # half a second of import time that the first line need not wait for
    from physml.runs.map_pictures import draw_map

    run.folder.write_arrays(
        "ldos.npz", energies=density.energies, sites=density.sites, ldos=density.values
    )
    shown = configuration.shown_energies
    draw_map(run.folder.path / "ldos.png", experiment, density, shown)
    spacing = float(density.energies[1] - density.energies[0])
    resolution = resolution_error(spacing, configuration.broadening)
    error = float(np.abs(density.sum_rule_errors).max())
    print(
        f"{len(density.energies)} energies at {len(density.sites)} sites: largest "
        "relative residual "
        f"{density.max_relative_residual:.1e}.\n"
        f"Sum rule: states a site differ from 1 by at most {error:.1e}; energies "
        f"{spacing:.3g} apart allow {resolution:.1e} at a broadening of "
        f"{configuration.broadening:g}.\n"
        f"Outside of the map's energies: up to {density.tails.max():.2g} of the one "
        f"state of a site, most at site {density.sites[density.tails.argmax()]}."
    )
    run.finish(
        {
            "method": density.method,
            "num_sites": len(density.sites),
            "num_energies": len(density.energies),
            "max_relative_residual": density.max_relative_residual,
            "max_iterations": density.max_iterations,
            "num_not_converged": density.num_failed,
            "sum_rule_error": error,
            "resolution_error": resolution,
            "largest_tail": float(density.tails.max()),
        }
    )
