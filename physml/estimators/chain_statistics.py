r"""Means of Markov chains, with their errors and the autocorrelation behind them.

For a series x_t of stationary chains with the autocorrelation function
:math:`\rho(k)`, N numbers in all,

.. math::
    \tau = \frac12 + \sum_{k=1}^{\infty} \rho(k), \qquad
    N_{eff} = \frac{N}{2 \tau}, \qquad
    \sigma_{\bar x}^2 = \frac{\sigma_x^2}{N_{eff}} .

With this convention :math:`\tau = 1/2` for independent numbers, and
:math:`\tau = \frac12 \frac{1 + r}{1 - r}` where :math:`\rho(k) = r^k`. The sum ends by
itself, at Geyer's initial monotone sequence over all chains. :math:`\hat R` compares
the spread between halves of chains with that within; above 1.01 they have not yet
forgotten where they started.

The estimators are those of ArviZ, which is maintained, tested against Stan, and needs
NumPy and SciPy alone.

Reference: A. Vehtari et al., Bayesian Anal. 16, 667 (2021).
"""

from typing import NamedTuple

import numpy as np

from physml.failures import expected


class ChainEstimate(NamedTuple):
    """The mean of an observable over chains, and how well it is known."""

    mean: float
    error: float  # the standard error of the mean
    autocorrelation_time: float  # tau, in steps of the series; 1/2 if independent
    effective_samples: float
    split_r_hat: float  # rank-normalized


def chain_estimate(series: np.ndarray) -> ChainEstimate:
    """Return the mean of chains with its error.

    Parameters
    ----------
    series
        Real, shape (num_chains, num_steps) or (num_steps,), after burn-in; at least 8
        steps.

    Returns
    -------
    ChainEstimate
        Of a series that is constant in all chains: error 0, tau 1/2. If chains are
        stuck at different values: no effective sample, an infinite error and R-hat.

    Raises
    ------
    ValueError
        If there are too few numbers, or one is not finite.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> estimate = chain_estimate(rng.normal(size=(4, 1000)))
    >>> print(f"{estimate.mean:.2f} +- {estimate.error:.2f}")
    -0.02 +- 0.02
    """
    chains = require_chains(series)
    mean = float(np.mean(chains))
    if np.all(chains == chains[0, 0]):
        return ChainEstimate(mean, 0.0, 0.5, float(chains.size), 1.0)
    if np.all(chains == chains[:, :1]):
        return ChainEstimate(mean, np.inf, np.inf, 0.0, np.inf)
    # Here, since its import of scipy.stats takes longer than all of physml.
    from arviz_stats.base import array_stats

    effective = float(array_stats.ess(chains, method="mean"))
    halves = np.vstack(_halves(chains)) if len(chains) == 1 else chains
    return ChainEstimate(
        mean,
        float(np.std(chains, ddof=1) / np.sqrt(effective)),
        chains.size / (2 * effective),
        effective,
        float(array_stats.rhat(halves, method="rank")),
    )


def autocorrelation(series: np.ndarray, num_lags: int) -> np.ndarray:
    r"""Return the normalized autocorrelation function, averaged over chains.

    Parameters
    ----------
    series
        Real, shape (num_chains, num_steps) or (num_steps,).
    num_lags
        rho(0) = 1 to rho(num_lags - 1).

    Returns
    -------
    np.ndarray
        Shape (num_lags,). The mean over all chains is taken out, and each lag divided
        by its number of pairs, which keeps the bias at about 2 tau / N.

    Raises
    ------
    ValueError
        If there are too few numbers or lags, a number is not finite, or all are equal.
    """
    chains = require_chains(series)
    num_steps = chains.shape[1]
    if not 1 <= num_lags < num_steps:
        raise expected(
            f"1 to {num_steps - 1} lags", num_lags, "ask for less than the steps"
        )
    if np.all(chains == chains[0, 0]):
        raise expected("a series that changes", f"{chains[0, 0]} alone", "leave it out")
    deviations = chains - np.mean(chains)
    spectrum = np.fft.rfft(deviations, 2 * num_steps, axis=1)
    sums = np.fft.irfft(np.sum(np.abs(spectrum) ** 2, axis=0))[:num_lags]
    covariance = sums / (num_steps - np.arange(num_lags))
    return covariance / covariance[0]


def require_chains(series: np.ndarray) -> np.ndarray:
    """Return the series in float64, shape (num_chains, num_steps), if it can be used.

    Raises
    ------
    ValueError
        If there are too few numbers, or one is complex or not finite.
    """
    if np.iscomplexobj(series):
        cure = "take real and imaginary part as two series"
        raise expected("a series of real numbers", np.asarray(series).dtype, cure)
    chains = np.atleast_2d(np.asarray(series, np.float64))
    if chains.ndim > 2 or chains.shape[1] < 8 or chains.shape[0] < 1:
        raise expected(
            "a series of shape (num_chains, num_steps), 8 steps or more",
            f"shape {np.shape(series)}",
            "take one observable, and more sweeps",
        )
    if not np.all(np.isfinite(chains)):
        count = int(np.sum(~np.isfinite(chains)))
        raise expected(
            "a series of finite numbers",
            f"{count} that are not",
            "check the observable",
        )
    return chains


def _halves(chains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    half = chains.shape[1] // 2
    return chains[:, :half], chains[:, -half:]
