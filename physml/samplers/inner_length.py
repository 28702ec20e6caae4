"""How long the chain in the effective model should be: tried out, not guessed.

A longer inner chain forgets more between two exact evaluations, but takes its time;
with a poor effective model nothing is gained once it has forgotten its start. What
counts is how many effective samples come in a second.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from physml.failures import RunFailure, expected
from physml.samplers.sampling import sample
from physml.samplers.self_learning import SelfLearning


class InnerLength(NamedTuple):
    """What was measured for one length of the inner chain."""

    num_inner: int
    acceptance: float  # of the exact model
    autocorrelation_time: float  # tau of the slowest observable, in exact acceptances
    effective_samples: float  # of the slowest observable, in all chains
    seconds: float
    effective_samples_per_second: float


class InnerLengthChoice(NamedTuple):
    """The lengths that were tried, and the best of them."""

    table: tuple[InnerLength, ...]
    best: InnerLength


def choose_inner_length(
    kernel: SelfLearning,
    spins: jax.Array,
    *,
    key: jax.Array,
    lengths: Sequence[int] = (1, 2, 4, 8, 16),
    num_sweeps: int = 200,
    num_burn_in: int = 50,
    **options: Any,
) -> InnerLengthChoice:
    """Try lengths of the inner chain; return the table and the fastest.

    Parameters
    ----------
    kernel
        Its own length is not looked at.
    spins
        Shape (num_chains, n_1, ..., n_d, 3); each length starts where the one before
        has ended.
    key
        A random key.
    lengths
        Inner steps before an exact acceptance, each 1 or more.
    num_sweeps, num_burn_in
        Of each length. With N effective samples of the slowest observable a rate is
        known to about sqrt(8 tau / N); neighbors in the table may change places.
    **options
        Passed on to `sample`: observables, batching, communicator.

    Raises
    ------
    ValueError
        If there is no length, or one below 1.
    RunFailure
        If no length gave an effective sample: nothing was accepted.
    """
    if not lengths or min(lengths) < 1:
        raise expected("lengths of 1 or more", tuple(lengths), "try 1, 2, 4, 8")
    table = []
    for index, length in enumerate(lengths):
        result = sample(
            replace(kernel, num_inner=length),
            spins,
            key=jax.random.fold_in(key, index),
            num_sweeps=num_sweeps,
            num_burn_in=num_burn_in,
            **options,
        )
        spins = result.spins
        slowest = result.measured.slowest()
        table.append(
            InnerLength(
                length,
                float(np.mean(result.measured.acceptance["self_learning"])),
                slowest.autocorrelation_time,
                slowest.effective_samples,
                result.seconds,
                slowest.effective_samples / result.seconds,
            )
        )
    best = max(table, key=lambda row: row.effective_samples_per_second)
    if best.effective_samples == 0:
        raise RunFailure(
            "Expected accepted proposals for some length of the inner chain, got none "
            f"in {num_sweeps} trials: train the effective model further, or shorten it."
        )
    return InnerLengthChoice(tuple(table), best)
