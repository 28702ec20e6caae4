r"""Metropolis acceptance: probability :math:`\min(1, e^{r})` for a log ratio r.

For a move x -> x' proposed with probability density q,

.. math:: r = \log\pi(x') - \log\pi(x) + \log q(x|x') - \log q(x'|x) ;

the last two terms are the log correction of a proposal, zero where q is symmetric.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Verdict(NamedTuple):
    """What became of a proposal."""

    is_accepted: jax.Array
    probability: jax.Array  # with which it was accepted
    is_not_finite: jax.Array  # refused because its log ratio is NaN or +infinity


def log_uniform(
    key: jax.Array, shape: tuple[int, ...], dtype: jax.typing.DTypeLike
) -> jax.Array:
    """Return logarithms of numbers that are uniform in (0, 1]: never minus infinity."""
    return jnp.log1p(-jax.random.uniform(key, shape, dtype))


def judge(log_uniform: jax.Array, log_ratio: jax.Array) -> Verdict:
    """Accept with probability min(1, exp(log_ratio)).

    Parameters
    ----------
    log_uniform
        The logarithm of a number that is uniform in (0, 1].
    log_ratio
        Minus infinity, a density of zero, is never accepted and is no failure; NaN and
        plus infinity are never accepted and are counted.
    """
    is_not_finite = jnp.isnan(log_ratio) | (log_ratio == jnp.inf)
    safe = jnp.where(is_not_finite, jnp.full_like(log_ratio, -jnp.inf), log_ratio)
    probability = jnp.exp(jnp.minimum(safe, jnp.zeros_like(safe)))
    return Verdict(log_uniform <= safe, probability, is_not_finite)
