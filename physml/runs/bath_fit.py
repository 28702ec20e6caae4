"""Fit a bath to a hybridization, end to end: result, table, pictures."""

import time
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from physml.dynamical_mean_field.bath import Bath
from physml.dynamical_mean_field.bath_assessment import BathFit, assess_fit
from physml.parallel import SERIAL, Communicator
from physml.precision import enable_x64
from physml.runs.bath_fit_problem import (
    COUPLINGS,
    BathFitConfiguration,
    bath_fit_computation,
    bath_fit_problem,
)
from physml.runs.bath_fit_target import BathTarget
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
    target, problem = bath_fit_problem(configuration)
    c = replace(configuration, target_sha256=target.sha256)
    computation = bath_fit_computation(c, problem, communicator)
    say_on_root(communicator, _what(c, target))
    run = open_run(
        "bath_fit", c, computation, started=started, communicator=communicator
    )
    results = run.perform(computation.compute)
    fit = assess_fit(problem, results[COUPLINGS])
    if communicator.is_root:
        _report(run, target, fit)
    return fit


def _what(c: BathFitConfiguration, target: BathTarget) -> str:
    """Say what is fitted."""
    sites = "1 site" if c.sites == 1 else f"{c.sites} sites"
    n = target.num_orbitals
    orbitals = "" if n == 1 else f" and {n} orbitals"
    return (
        f"Bath of {sites}{orbitals} for {c.target}, {target.frequencies.size} "
        f"Matsubara frequencies at beta = {c.beta:g}, {c.starts} starts"
    )


def _report(run: Run, target: BathTarget, fit: BathFit) -> None:
    """Write the result and the pictures, print the table."""
    # half a second of import time that the first line need not wait for
    from physml.runs.bath_fit_pictures import draw_hybridization, draw_spectrum

    bath = fit.bath
    found = jax.jit(bath.hybridization)(1j * jnp.asarray(target.frequencies))
    print(_table(bath))
    for warning in fit.warnings:
        print(f"Warning: {warning}")
    total = np.trace(np.atleast_2d(bath.sum_rule)).real
    print(
        f"Distance {fit.distance:.3e}, largest error {fit.max_error:.3e}, sum of |V|^2 "
        f"{total:.10g}; {fit.starts_at_best} of {fit.distances.size} starts found it."
    )
    draw_hybridization(run.folder.path / "hybridization.png", target, np.asarray(found))
    draw_spectrum(run.folder.path / "spectrum.png", target, bath)
    run.finish(
        {
            "levels": np.asarray(bath.levels).tolist(),
            "couplings": _nested(bath.couplings),
            "max_error": fit.max_error,
            "distance": fit.distance,
            "sum_rule": _nested(bath.sum_rule),
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
        "hidden_couplings": _nested(hidden.couplings),
    }


def _nested(numbers: jax.Array) -> Any:
    """Return nested lists; JSON has no complex numbers."""
    array = np.asarray(numbers)
    if np.iscomplexobj(array):
        return {"real": array.real.tolist(), "imaginary": array.imag.tolist()}
    return array.tolist()


def _table(bath: Bath) -> str:
    """Return a line for each site, with a coupling to each orbital."""
    couplings = np.asarray(bath.couplings).reshape(bath.num_sites, -1)
    width, digits = (29, 11) if np.iscomplexobj(couplings) else (21, 14)
    names = [f"to orbital {a}" for a in range(couplings.shape[1])]
    heads = ["coupling"] if len(names) == 1 else names
    lines = ["site" + f"{'level':>22}" + "".join(f"{h:>{width + 1}}" for h in heads)]
    for i, (level, row) in enumerate(zip(bath.levels, couplings, strict=True)):
        numbers = "".join(f" {v:{width}.{digits}g}" for v in row)
        lines.append(f"{i:4d} {float(level):21.14g}{numbers}")
    return "\n".join(lines)
