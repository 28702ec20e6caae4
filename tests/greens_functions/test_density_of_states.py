"""The total density of states against sums over levels, within its error."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.failures import RunFailure
from physml.greens_functions import density_of_states
from physml.operators import as_operator
from physml.parallel import ShardedCommunicator
from physml.solvers import SpectralInterval, chebyshev_density, jackson_kernel

ENERGIES = np.linspace(-3, 3, 13)


def ring(n, dtype=np.float64):
    """Hopping with a flux, so that complex levels are not symmetric."""
    phase = np.exp(0.3j) if dtype is np.complex128 else 1.0
    matrix = np.roll(np.eye(n), 1, 0) * phase
    rng = np.random.default_rng(0)
    return matrix + matrix.conj().T + np.diag(rng.uniform(-1, 1, n))


def smoothed(matrix, interval, num_moments):
    """Return the exact density, smoothed by the same kernel."""
    center, half_width = interval
    x = (np.linalg.eigvalsh(matrix) - float(center)) / float(half_width)
    moments = np.cos(np.arange(num_moments)[:, None] * np.arccos(x)).mean(axis=1)
    return chebyshev_density(
        jnp.asarray(moments)[None],
        jnp.asarray(ENERGIES),
        interval,
        jackson_kernel(num_moments),
    )[0]


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_within_its_error_of_the_exact_density(dtype):
    matrix = ring(150, dtype)
    found = density_of_states(matrix, ENERGIES, num_moments=40, num_vectors=64)
    exact = smoothed(matrix, found.interval, 40)
    is_inside = np.abs(ENERGIES) < 2.2
    deviation = np.asarray((found.values - exact) / found.standard_error)[is_inside]
    # a mean square near 1, though neighbors are correlated
    assert 0.1 < np.mean(deviation**2) < 3
    assert found.standard_error.max() < 0.05 * found.values.max()


def test_error_falls_like_the_root_of_the_number_of_vectors():
    few, many = (
        density_of_states(ring(60), [0.0], num_moments=30, num_vectors=number)
        for number in (16, 256)
    )
    ratio = float(few.standard_error[0] / many.standard_error[0])
    assert ratio == pytest.approx(4, rel=0.6)


def test_one_state_for_each_site():
    energies = np.linspace(-4, 4, 2001)
    found = density_of_states(ring(50), energies, num_moments=64, num_vectors=4)
    assert np.trapezoid(found.values, energies) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("kernel", ["jackson", "lorentz"])
def test_any_number_of_ranks_has_the_same_vectors(kernel):
    options = {"num_moments": 16, "num_vectors": 3, "kernel": kernel}
    alone = density_of_states(ring(20), ENERGIES, **options)
    divided = density_of_states(
        ring(20), ENERGIES, **options, communicator=ShardedCommunicator(jax.devices())
    )
    np.testing.assert_allclose(divided.values, alone.values, rtol=1e-12)
    other = density_of_states(ring(20), ENERGIES, **options, key=jax.random.key(1))
    assert np.abs(other.values - alone.values).max() > 1e-6


def test_a_spectrum_beyond_the_interval_is_noticed(monkeypatch):
    monkeypatch.setattr(
        sys.modules[density_of_states.__module__],
        "spectral_interval",
        lambda _: SpectralInterval(jnp.asarray(0.0), jnp.asarray(1.0)),
    )
    with pytest.raises(RunFailure, match="reaches beyond the interval"):
        density_of_states(ring(20), ENERGIES, num_moments=64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energies": []}, "energies of shape"),
        ({"energies": [np.nan]}, "energies of shape"),
        ({"num_moments": 1}, "num_moments >= 2"),
        ({"num_vectors": 1}, "num_vectors >= 2"),
        ({"kernel": "dirichlet"}, "jackson or lorentz"),
        ({"operator": np.eye(4, k=1)}, "Hermitian"),
        ({"operator": np.diag([np.nan, 1])}, "finite elements"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"operator": ring(8), "energies": ENERGIES} | change
    with pytest.raises(ValueError, match=message):
        density_of_states(**arguments)


def test_an_operator_without_a_matrix():
    n = 1001
    operator = as_operator(
        lambda v: jnp.roll(v, 1) + jnp.roll(v, -1), size=n, dtype=float
    )
    found = density_of_states(operator, [0.5], num_moments=128, num_vectors=16)
    exact = 1 / (np.pi * np.sqrt(4 - 0.25))
    error = float(found.standard_error[0])
    # smoothing over pi a / N adds less than the second derivative allows
    assert float(found.values[0]) == pytest.approx(exact, abs=4 * error + 1e-4)
