"""What the chains of self-learning Monte Carlo say: means, errors, costs."""

import math
from functools import partial
from typing import Any

import jax
import numpy as np

from physml.estimators import (
    ChainEstimate,
    autocorrelation,
    chain_estimate,
    has_two_sublattices,
    magnetization,
    staggered_magnetization,
)
from physml.lattices import BravaisLattice
from physml.runs.sampling import Sampled

LAGS = 40  # of the autocorrelation in the picture, at most


def orders(lattice: BravaisLattice, spins: jax.Array) -> dict[str, jax.Array]:
    """Return the magnetizations of a configuration that the lattice has."""
    values = {"magnetization": magnetization(spins, lattice)}
    if has_two_sublattices(lattice):
        values["staggered_magnetization"] = staggered_magnetization(spins, lattice)
    return values


def free_energies(sampled: Sampled) -> np.ndarray:
    """Return F/T of all chains, shape (num_chains, num_records)."""
    return -np.asarray(sampled.values["log_density"])


def measured(sampled: Sampled, acceptance: str, num_sweeps: int = 1) -> dict[str, Any]:
    """Return the entries of result.json that chains of the exact density give.

    Parameters
    ----------
    sampled
        Records of `orders`.
    acceptance
        The name of the kind of move whose acceptance is wanted.
    num_sweeps
        From one record to the next; proposals count as sweeps.

    Returns
    -------
    Numbers; None for a staggered magnetization that the lattice does not have, and for
    what is not finite. The autocorrelation time is the integrated one of F/T, in
    sweeps, half the distance of independent records; effective samples are those of
    F/T, all chains together. Those of the slowest observable are there as well.
    """
    estimates = _estimates(sampled)
    slowest = min(estimates, key=lambda name: estimates[name].effective_samples)
    moves = chain_estimate(np.asarray(sampled.acceptance[acceptance]))
    seconds = float(np.sum(sampled.seconds))
    costs = partial(_costs, seconds=seconds, num_sweeps=num_sweeps)
    entries = {
        "measured_acceptance": moves.mean,
        "acceptance_error": moves.error,
        "staggered_magnetization": None,
        "staggered_magnetization_error": None,
        **{name: estimate.mean for name, estimate in estimates.items()},
        **{f"{name}_error": estimate.error for name, estimate in estimates.items()},
        **costs(estimates["free_energy_over_temperature"]),
        "slowest_observable": slowest,
        **{f"slowest_{name}": x for name, x in costs(estimates[slowest]).items()},
        "split_r_hat": estimates["free_energy_over_temperature"].split_r_hat,
        "num_chains": len(sampled.num_not_finite),
        "num_steps": len(sampled.seconds) * num_sweeps,
        "seconds": seconds,
        "num_not_finite": int(np.sum(sampled.num_not_finite)),
    }
    return {name: _finite(value) for name, value in entries.items()}


def _estimates(sampled: Sampled) -> dict[str, ChainEstimate]:
    """Return the estimates of all observables by their names in result.json."""
    series = {name: np.asarray(rows) for name, rows in sampled.values.items()}
    series["free_energy_over_temperature"] = -series.pop("log_density")
    return {name: chain_estimate(rows) for name, rows in series.items()}


def _costs(
    estimate: ChainEstimate, seconds: float, num_sweeps: int
) -> dict[str, float]:
    return {
        "autocorrelation_time": estimate.autocorrelation_time * num_sweeps,
        "effective_samples": estimate.effective_samples,
        "effective_samples_per_second": estimate.effective_samples / seconds,
    }


def predicted_acceptance(variance: float) -> float:
    r"""Return the acceptance of independent proposals.

    .. math:: \operatorname{erfc}\big(\tfrac12 \sqrt{\mathrm{Var}}\big)

    for errors of F/T that are distributed normally, with the same variance in the exact
    model's configurations and in the proposals. A mean error cancels in the acceptance.
    """
    return math.erfc(math.sqrt(variance) / 2)


def correlation(sampled: Sampled) -> np.ndarray:
    """Return the autocorrelation of F/T at lags 0, 1, ..."""
    series = free_energies(sampled)
    return autocorrelation(series, min(LAGS, series.shape[1] // 4))


def _finite(value: Any) -> Any:
    """Return None for what JSON does not know."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
