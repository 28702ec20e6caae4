"""What lies outside of a map's energies, against arctangents of each level."""

import numpy as np
import pytest

from physml.greens_functions.sum_rule import (
    integrated_density,
    resolution_error,
    tail_quadrature,
)

LEVELS = np.linspace(-4, 8, 4001)  # far below, in, at the ends of and far above
LOWEST, HIGHEST = -2.5, 3.0
REACH = 10.5


def exact_tails(broadening):
    upper, lower = HIGHEST - LEVELS, LOWEST - LEVELS
    inside = np.arctan(upper / broadening) - np.arctan(lower / broadening)
    return 1 - inside / np.pi


@pytest.mark.parametrize("broadening", [1e-4, 1e-2, 0.05, 1.0, 50.0])
def test_tails_are_those_of_lorentzians_wherever_the_level_is(broadening):
    quadrature = tail_quadrature(LOWEST, HIGHEST, broadening, REACH)
    green = 1 / (quadrature.z[:, None] - LEVELS)
    tails = quadrature.tails(green)
    # the weight that is missed by Gauss's rule, and rounding of many points
    np.testing.assert_allclose(tails, exact_tails(broadening), rtol=0, atol=1e-10)


def test_a_broad_map_needs_few_points_and_a_sharp_one_not_many():
    counts = [
        len(tail_quadrature(LOWEST, HIGHEST, eta, REACH).z) for eta in (1, 0.05, 1e-3)
    ]
    assert counts[0] < 50
    assert counts[-1] < 300
    assert counts == sorted(counts)


@pytest.mark.parametrize("ratio", [0.8, 1.0, 1.5])  # broadening / spacing
def test_sum_over_energies_misses_what_poissons_formula_says(ratio):
    spacing, width = 0.05, 60.0
    energies = spacing * np.arange(-int(width / spacing), int(width / spacing) + 1)
    broadening = ratio * spacing
    levels = spacing * np.array([0.0, 0.25, 0.5])  # on a point, and between two
    density = broadening / np.pi / ((energies[:, None] - levels) ** 2 + broadening**2)
    tails = 1 - 2 / np.pi * np.arctan(width / broadening)
    errors = integrated_density(energies, density) + tails - 1
    bound = resolution_error(spacing, broadening)
    assert np.abs(errors).max() == pytest.approx(bound, rel=1e-2)


def test_end_corrections_are_exact_for_cubics():
    energies = np.linspace(-1, 2, 9)
    values = np.stack([energies**k for k in range(4)], axis=1)
    exact = [(2 ** (k + 1) - (-1) ** (k + 1)) / (k + 1) for k in range(4)]
    found = integrated_density(energies, values)
    np.testing.assert_allclose(found, exact, rtol=1e-14)


def test_too_few_energies_are_refused():
    with pytest.raises(ValueError, match="6 energies or more"):
        integrated_density(np.arange(5.0), np.ones((5, 1)))
