"""What the chains of self-learning Monte Carlo say: means, errors, costs."""

import math
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


def measured(sampled: Sampled, acceptance: str) -> dict[str, Any]:
    """Return the entries of result.json that chains of the exact density give.

    Parameters
    ----------
    sampled
        Records of `orders`, each step of the chain.
    acceptance
        The name of the kind of move whose acceptance is wanted.

    Returns
    -------
    Numbers; None for a staggered magnetization that the lattice does not have, and for
    what is not finite. The autocorrelation time is the integrated one of F/T, in steps
    of the chain, 1/2 for independent ones; effective samples are those of F/T, all
    chains together. Those of the slowest observable are there as well.
    """
    energy = chain_estimate(free_energies(sampled))
    moves = chain_estimate(np.asarray(sampled.acceptance[acceptance]))
    seconds = float(np.sum(sampled.seconds))
    entries = {
        "measured_acceptance": moves.mean,
        "acceptance_error": moves.error,
        **_estimated("magnetization", sampled),
        **_estimated("staggered_magnetization", sampled),
        **_with_error("free_energy_over_temperature", energy),
        "autocorrelation_time": energy.autocorrelation_time,
        "effective_samples": energy.effective_samples,
        "effective_samples_per_second": energy.effective_samples / seconds,
        **_of_slowest(sampled, seconds),
        "split_r_hat": energy.split_r_hat,
        "num_chains": len(sampled.num_not_finite),
        "num_steps": len(sampled.seconds),
        "seconds": seconds,
        "num_not_finite": int(np.sum(sampled.num_not_finite)),
    }
    return {name: _finite(value) for name, value in entries.items()}


def predicted_acceptance(mean_squared_error: float) -> float:
    r"""Return the acceptance of independent proposals.

    .. math:: \operatorname{erfc}\big(\tfrac12 \sqrt{\mathrm{MSE}}\big)

    for normally distributed errors of F/T with the same variance in the exact model's
    configurations and in the proposals.
    """
    return math.erfc(math.sqrt(mean_squared_error) / 2)


def correlation(sampled: Sampled) -> np.ndarray:
    """Return the autocorrelation of F/T at lags 0, 1, ..."""
    series = free_energies(sampled)
    return autocorrelation(series, min(LAGS, series.shape[1] // 4))


def _of_slowest(sampled: Sampled, seconds: float) -> dict[str, Any]:
    """Return the costs of the observable with the fewest effective samples."""
    found = {n: chain_estimate(np.asarray(x)) for n, x in sampled.values.items()}
    name = min(found, key=lambda key: found[key].effective_samples)
    return {
        "slowest_observable": name.replace("log_density", "free_energy"),
        "slowest_autocorrelation_time": found[name].autocorrelation_time,
        "slowest_effective_samples_per_second": found[name].effective_samples / seconds,
    }


def _estimated(name: str, sampled: Sampled) -> dict[str, float | None]:
    if name not in sampled.values:
        return {name: None, f"{name}_error": None}
    return _with_error(name, chain_estimate(np.asarray(sampled.values[name])))


def _with_error(name: str, estimate: ChainEstimate) -> dict[str, float | None]:
    return {name: estimate.mean, f"{name}_error": estimate.error}


def _finite(value: Any) -> Any:
    """Return None for what JSON does not know."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
