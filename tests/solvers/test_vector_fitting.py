"""Vector fitting against sums over poles that are known."""

import numpy as np
import pytest

from physml.solvers.vector_fitting import relocate_poles

POINTS = 1j * np.linspace(0.2, 6, 30)


def sum_over_poles(poles, residues):
    return (residues / (POINTS[:, None] - poles)).sum(axis=1)


@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_one_step_finds_the_poles_from_anywhere(shift):
    exact = np.array([-1.2, 0.1, 0.8])
    values = np.stack([sum_over_poles(exact, [0.2, -0.5, 0.4]), np.ones(30)], axis=1)
    starts = np.array([[-0.3, 0.2, 0.4], [2.0, 3.0, 5.0 + shift]])
    found = relocate_poles(POINTS, values, starts)
    np.testing.assert_allclose(found, [exact, exact], atol=1e-9)


def test_several_functions_share_poles_and_weights_count():
    exact, weights = np.array([-0.5, 0.6]), np.linspace(1, 2, 30)
    functions = [sum_over_poles(exact, r) for r in ([1.0, 0.0], [0.0, 2.0])]
    values = np.stack([*(f * weights for f in functions), weights], axis=1)
    found = relocate_poles(POINTS, values, np.array([[0.1, 0.2]]))
    np.testing.assert_allclose(found, [exact], atol=1e-12)


def test_a_fixed_pole_stays_out_of_the_others():
    f = sum_over_poles(np.array([0.0, 0.7]), [0.4, 0.3])
    values = np.stack([f, np.ones(30)], axis=1)
    found = relocate_poles(POINTS, values, np.array([[1.5]]), fixed_poles=(0.0,))
    np.testing.assert_allclose(found, [[0.7]], atol=1e-12)


def test_complex_pairs_become_two_real_poles():
    complex_pair = np.array([0.5 + 0.1j, 0.5 - 0.1j])
    values = np.stack([sum_over_poles(complex_pair, [1.0, 1.0]), np.ones(30)], axis=1)
    found = relocate_poles(POINTS, values, np.array([[0.1, 0.2]]))
    np.testing.assert_allclose(found, [[0.4, 0.6]], atol=1e-10)


def test_semicircle_comes_to_rest_in_three_steps_at_geometric_errors():
    z = 1j * (2 * np.arange(56) + 1) * np.pi / 20
    f = 2 / (z + np.sqrt(z - 1) * np.sqrt(z + 1))
    errors = []
    for number in (4, 6, 8):
        poles = np.random.default_rng(number).uniform(-2, 2, (5, number))
        for _ in range(4):
            poles = relocate_poles(z, np.stack([f, np.ones(56)], axis=1), poles)
        terms = 1 / (z[:, None] - poles[0])
        rows, side = (np.concatenate([a.real, a.imag]) for a in (terms, f))
        residues = np.linalg.lstsq(rows, side, rcond=None)[0]
        assert residues.min() > 0
        np.testing.assert_allclose(poles, poles[:1].repeat(5, axis=0), atol=1e-4)
        errors.append(np.abs(terms @ residues - f).max())
    np.testing.assert_allclose(errors, [1.28e-3, 2.98e-6, 2.20e-9], rtol=1e-2)
