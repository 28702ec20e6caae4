r"""The error of a mean by blocking: averages of longer and longer blocks.

Neighbors are averaged two by two, level after level; blocks of length :math:`b = 2^l`
have the naive error

.. math:: s_l^2 = \frac{\sigma_l^2}{n_l - 1}, \qquad
          \delta s_l \approx \frac{s_l}{\sqrt{2 (n_l - 1)}} ,

of their :math:`n_l` averages with the variance :math:`\sigma_l^2`. It grows with l
until blocks are longer than the memory of the chain, and is the true error from there
on. It knows nothing of autocorrelation functions, and so checks `chain_estimate`.

The level is chosen by itself: the smallest at which :math:`b^3 > 2 N (s_l/s_0)^4`,
which balances the bias of short blocks with the noise of few.

References: H. Flyvbjerg, H. G. Petersen, J. Chem. Phys. 91, 461 (1989); the level:
U. Wolff, Comput. Phys. Commun. 156, 143 (2004), R. M. Lee et al., Phys. Rev. E 83,
066706 (2011).
"""

from typing import NamedTuple

import numpy as np

from physml.estimators.chain_statistics import require_chains


class BlockingLevels(NamedTuple):
    """The naive errors at all levels; draw them against the length of a block."""

    block_length: np.ndarray
    error: np.ndarray
    error_of_error: np.ndarray
    chosen: int  # the level at which to read off the error

    @property
    def best_error(self) -> float:
        """The standard error of the mean."""
        return float(self.error[self.chosen])


def blocking_levels(series: np.ndarray) -> BlockingLevels:
    """Return the error of the mean of chains for blocks of all lengths.

    Parameters
    ----------
    series
        Real, shape (num_chains, num_steps) or (num_steps,), after burn-in. Blocks do
        not reach from one chain into the next; what does not fill a block is left out
        of its level. The mean of all chains is taken out, so chains that disagree show.

    Returns
    -------
    BlockingLevels
        As long as there are two blocks in a chain. If no level is long enough, the one
        with the largest error is chosen.

    Raises
    ------
    ValueError
        If there are too few numbers, or one is not finite.

    Examples
    --------
    >>> levels = blocking_levels(np.random.default_rng(0).normal(size=2**16))
    >>> print(f"{levels.best_error:.3f}")  # exact: 1/256
    0.004
    """
    blocks = require_chains(series)
    num_all = blocks.size
    errors, counts = [], []
    while blocks.shape[1] >= 2:
        errors.append(np.std(blocks) / np.sqrt(blocks.size - 1))
        counts.append(blocks.size)
        even = blocks[:, : blocks.shape[1] // 2 * 2]
        blocks = (even[:, 0::2] + even[:, 1::2]) / 2
    error, count = np.array(errors), np.array(counts)
    length = 2 ** np.arange(len(error))
    return BlockingLevels(
        length, error, error / np.sqrt(2 * (count - 1)), _choose(length, error, num_all)
    )


def _choose(length: np.ndarray, error: np.ndarray, num_all: int) -> int:
    """Return the smallest level that is long enough."""
    if error[0] == 0:
        return 0
    is_enough = length**3.0 > 2 * num_all * (error / error[0]) ** 4
    return int(np.argmax(is_enough)) if np.any(is_enough) else int(np.argmax(error))
