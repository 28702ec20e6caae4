"""The theorems on random matrices, where all eigenvalues are known."""

import math

import numpy as np
import pytest

from physml.estimators import kato_temple_interval, weinstein_interval


def perturbed_states(seed):
    """Yield energies and residuals of states near each eigenvector."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(8, 8))
    matrix = matrix + matrix.T
    levels, vectors = np.linalg.eigh(matrix)
    for n, vector in enumerate(vectors.T):
        for size in (0.3, 1e-2, 1e-5):
            psi = vector + size * rng.normal(size=8)
            psi /= np.linalg.norm(psi)
            energy = psi @ matrix @ psi
            residual = np.linalg.norm(matrix @ psi - energy * psi)
            yield levels, n, energy, residual


@pytest.mark.parametrize("seed", range(20))
def test_weinstein_holds_an_eigenvalue(seed):
    for levels, _, energy, residual in perturbed_states(seed):
        lower, upper = weinstein_interval(energy, residual, rounding=1e-14)
        assert np.any((lower <= levels) & (levels <= upper))


@pytest.mark.parametrize("seed", range(20))
def test_kato_temple_holds_its_own_eigenvalue_and_is_not_wider(seed):
    for levels, n, energy, residual in perturbed_states(seed):
        below = levels[n - 1] if n else -math.inf
        above = levels[n + 1] if n < 7 else math.inf
        if not below < energy < above:
            continue
        interval = kato_temple_interval(
            energy, residual, level_below=below, level_above=above, rounding=1e-14
        )
        weinstein = weinstein_interval(energy, residual, rounding=1e-14)
        assert weinstein.lower <= interval.lower <= interval.upper <= weinstein.upper
        if residual**2 < (above - energy) * (energy - below):
            assert interval.lower <= levels[n] <= interval.upper


def test_kato_temple_is_quadratic_in_the_residual():
    widths = [
        np.diff(kato_temple_interval(1.0, r, level_below=0.0, level_above=2.0))[0]
        for r in (1e-3, 1e-4)
    ]
    assert widths[0] / widths[1] == pytest.approx(100, rel=1e-6)


@pytest.mark.parametrize(
    "neighbors",
    [
        {"level_below": 0.99, "level_above": 1.01},  # the condition fails
        {"level_below": math.nan, "level_above": 2.0},  # not known
        {"level_below": 1.5, "level_above": 2.0},  # E is not between them
    ],
)
def test_weinstein_where_the_condition_fails(neighbors):
    interval = kato_temple_interval(1.0, 0.1, **neighbors)
    assert interval == weinstein_interval(1.0, 0.1)


@pytest.mark.parametrize(("energy", "residual"), [(math.nan, 1.0), (1.0, math.inf)])
def test_nan_never_passes_for_an_interval(energy, residual):
    with pytest.raises(ValueError, match="finite energy and residual"):
        kato_temple_interval(energy, residual)


def test_negative_residual_is_refused():
    with pytest.raises(ValueError, match="residual norm >= 0"):
        weinstein_interval(1.0, -1.0)
