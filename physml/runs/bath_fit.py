"""Fit a bath to a hybridization, end to end: result, table, pictures."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from physml.dynamical_mean_field.bath import Bath
from physml.dynamical_mean_field.bath_fitting import BathFit, assess_fit
from physml.parallel import SERIAL, Communicator
from physml.precision import enable_x64
from physml.runs.bath_fit_problem import (
    COUPLINGS,
    BathFitConfiguration,
    BathTarget,
    bath_fit_computation,
    bath_fit_problem,
)
from physml.runs.ranks import say_on_root
from physml.runs.run import Run, open_run


def run_bath_fit(
    configuration: BathFitConfiguration, communicator: Communicator = SERIAL
) -> BathFit:
    """Fit from all starts, and write result, records, pictures and checkpoint.

    Parameters
    ----------
    configuration
        The options.
    communicator
        The ranks, each with its share of the starts; the root alone writes.

    Returns
    -------
    The best bath, and how good it is.

    Raises
    ------
    ValueError
        If an option is out of its range or a file can't be used; nothing is written
        then.
    """
    started = time.monotonic()
    enable_x64()
    c = configuration
    target, problem = bath_fit_problem(c)
    computation = bath_fit_computation(c, problem, communicator)
    say_on_root(
        communicator,
        f"Bath of {c.sites} sites for {c.target}, {target.frequencies.size} Matsubara "
        f"frequencies at beta = {c.beta:g}, {c.starts} starts",
    )
    run = open_run(
        "bath_fit", c, computation, started=started, communicator=communicator
    )
    results = run.perform(computation.compute)
    fit = assess_fit(problem, results[COUPLINGS])
    if communicator.is_root:
        _report(run, target, fit)
    return fit


def _report(run: Run, target: BathTarget, fit: BathFit) -> None:
    """Write the result and the pictures, print the table."""
    # half a second of import time that the first line need not wait for
    from physml.runs.bath_fit_pictures import draw_hybridization, draw_spectrum

    bath = Bath(fit.bath.levels, fit.bath.couplings[:, 0])
    found = np.asarray(
        jax.jit(bath.hybridization)(1j * jnp.asarray(target.frequencies))
    )
    print(_table(bath))
    for warning in fit.warnings:
        print(f"Warning: {warning}")
    print(
        f"Distance {fit.distance:.3e}, largest error {fit.max_error:.3e}, sum of V^2 "
        f"{float(bath.sum_rule):.10g}; {fit.starts_at_best} of {fit.distances.size} "
        "starts found it."
    )
    draw_hybridization(run.folder.path / "hybridization.png", target, found)
    draw_spectrum(run.folder.path / "spectrum.png", target, bath)
    run.finish(
        {
            "levels": np.asarray(bath.levels).tolist(),
            "couplings": np.asarray(bath.couplings).tolist(),
            "max_error": fit.max_error,
            "distance": fit.distance,
            "sum_rule": float(bath.sum_rule),
            "starts_at_best": fit.starts_at_best,
            "distances": [None if np.isnan(d) else float(d) for d in fit.distances],
            "warnings": list(fit.warnings),
            **_hidden(target.hidden),
        }
    )


def _hidden(hidden: Bath | None) -> dict[str, Any]:
    if hidden is None:
        return {}
    return {
        "hidden_levels": np.asarray(hidden.levels).tolist(),
        "hidden_couplings": np.asarray(hidden.couplings).tolist(),
    }


def _table(bath: Bath) -> str:
    lines = ["site                 level              coupling"]
    pairs = zip(np.asarray(bath.levels), np.asarray(bath.couplings), strict=True)
    lines += [f"{i:4d} {e:21.14g} {v:21.14g}" for i, (e, v) in enumerate(pairs)]
    return "\n".join(lines)
