"""Poles of the Fermi function against tanh itself and Matsubara's sum."""

import numpy as np
import pytest

from physml.solvers.fermi_poles import fermi_poles


@pytest.mark.parametrize("radius", [0.5, 10.0, 90.0, 150.0, 900.0])
@pytest.mark.parametrize("tolerance", [1e-6, 1e-12])
def test_error_is_below_the_tolerance(radius: float, tolerance: float) -> None:
    poles = fermi_poles(radius, tolerance)
    x = np.random.default_rng(0).uniform(-radius, radius, 50_000)
    error = np.abs(poles(x) - np.tanh(x / 2)).max() / 2
    assert error <= max(1.2 * tolerance, 1e-13)
    assert poles.error <= tolerance
    assert np.all(poles.positions > 0)


def test_first_poles_are_the_matsubara_frequencies() -> None:
    """Residues of tanh(x/2) at i pi, 3 i pi are 2, so c = 4."""
    poles = fermi_poles(90.0)
    np.testing.assert_allclose(poles.positions[:2], [np.pi, 3 * np.pi], rtol=1e-6)
    np.testing.assert_allclose(poles.weights[:2], [4.0, 4.0], rtol=1e-5)


def test_the_number_of_poles_grows_like_two_logarithms() -> None:
    numbers = [fermi_poles(r).positions.size for r in (30.0, 90.0, 900.0)]
    assert numbers == sorted(numbers)
    assert numbers[-1] <= 20
    assert fermi_poles(90.0, 1e-6).positions.size <= 6


def test_integrated_it_is_the_free_energy_of_a_level() -> None:
    poles = fermi_poles(90.0)
    x = np.linspace(-90, 90, 1001)
    logs = np.log(x[:, None] ** 2 + poles.positions**2) @ poles.weights / 4
    value = -x / 2 + poles.slope * x**2 / 4 + logs
    want = np.logaddexp(0, -x)
    difference = (value - value[500]) - (want - want[500])
    np.testing.assert_allclose(difference, np.zeros(1001), atol=1e-11)


@pytest.mark.parametrize(
    ("radius", "tolerance"), [(0.0, 1e-9), (np.inf, 1e-9), (1.0, -1.0), (np.nan, 0.1)]
)
def test_bad_intervals_are_refused(radius: float, tolerance: float) -> None:
    with pytest.raises(ValueError, match="radius and a tolerance > 0"):
        fermi_poles(radius, tolerance)


def test_a_tolerance_below_rounding_is_refused() -> None:
    with pytest.raises(ValueError, match="which rounding allows"):
        fermi_poles(5.0, 1e-17)
