"""The example in the README runs as it stands and prints the right energies."""

import contextlib
import io
import re
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.sparse

from physml.hamiltonians import HarmonicDisk

README = Path(__file__).parents[1] / "README.md"


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def sinc_levels(num_levels: int) -> np.ndarray:
    """Diagonalize the example's potential in a sinc basis, which shares no code."""
    spacing = 0.08
    x = spacing * np.arange(-50, 51)
    n = np.subtract.outer(np.arange(x.size), np.arange(x.size))
    with np.errstate(divide="ignore"):
        kinetic = (-1.0) ** n / n.astype(float) ** 2
    kinetic[n == 0] = np.pi**2 / 6
    potential = 3 * x**4 + x**3 / 2 - 3 * x**2
    hamiltonian = kinetic / spacing**2 + np.diag(potential)
    return scipy.linalg.eigvalsh(hamiltonian)[:num_levels]


def output_of(example: str) -> str:
    output = io.StringIO()
    # a reader's program has JAX's own promotion rules, and Optax's Adam needs them
    with contextlib.redirect_stdout(output), jax.numpy_dtype_promotion("standard"):
        exec(compile(example, str(README), "exec"), {})
    return output.getvalue()


@pytest.mark.slow
def test_example_prints_the_energies() -> None:
    printed = output_of(python_blocks()[0])
    rows = re.findall(r"E_\d = (\S+), between (\S+) and (\S+)", printed)
    energy, lower, upper = np.array(rows, dtype=float).T
    exact = sinc_levels(2)
    last_digit = 1e-8
    np.testing.assert_allclose(energy, exact, rtol=0, atol=2 * last_digit)
    assert np.all((lower - last_digit <= exact) & (exact <= upper + last_digit))
    text = README.read_text()
    for n, value in enumerate(energy):
        assert f"E_{n} = {value:.8f}" in text


@pytest.mark.slow
def test_example_prints_a_greens_function_and_its_slope() -> None:
    first, second = re.findall(r" = (\S+?)(?:,|\n)", output_of(python_blocks()[1]))
    potential = np.full(1000, 0.5)
    potential[499] += 3
    chain = scipy.sparse.diags_array(
        [-np.ones(999), potential, -np.ones(999)], offsets=[-1, 0, 1]
    ).toarray()
    z = np.linspace(-2.5, 3, 100)[50] + 0.05j
    exact = np.linalg.inv(z * np.eye(1000) - chain)[499, 499]
    assert complex(first) == pytest.approx(exact, abs=1e-10)
    assert float(second) == pytest.approx((exact**2).imag, abs=1e-10)
    text = README.read_text()
    assert f"G = {first} and {second}" in text


@pytest.mark.slow
def test_example_fits_a_bath_and_solves_a_disc() -> None:
    printed = output_of(python_blocks()[2])
    level, slope = map(float, re.findall(r"level (\S+), slope (\S+)", printed)[0])
    upper, lower = (upper_level(1 + step) for step in (1e-3, -1e-3))
    assert level == pytest.approx(upper_level(1.0), abs=2e-6)
    assert slope == pytest.approx((upper - lower) / 2e-3, abs=1e-5)
    energy, slope = map(float, re.findall(r"E = (\S+), slope (\S+)", printed)[0])
    upper, lower = (HarmonicDisk(w).exact_levels(0, 1, 1)[0] for w in (4.01, 3.99))
    assert energy == pytest.approx(4.4888341187157, abs=1e-8)
    assert slope == pytest.approx((upper - lower) / 0.02, abs=1e-5)
    text = " ".join(README.read_text().split())
    for line in printed.splitlines():
        assert line in text


def upper_level(half_bandwidth: float) -> float:
    """Fit the semicircle by SciPy, whose minimizer shares no code with ours."""
    omega = (2 * np.arange(56) + 1) * np.pi / 20
    delta = -2 / (omega + np.sqrt(omega**2 + half_bandwidth**2))

    def deviations(numbers: np.ndarray) -> np.ndarray:
        levels, couplings = np.split(numbers, 2)
        terms = 2 * omega[:, None] / (omega[:, None] ** 2 + levels**2)
        return terms @ couplings**2 + delta

    start = np.array([0.11, 0.43, 0.81, 0.4, 0.47, 0.35])
    found = scipy.optimize.least_squares(
        deviations, start, method="lm", xtol=1e-15, ftol=1e-15, gtol=1e-15
    )
    return float(np.abs(found.x[:3]).max())


def test_links_lead_to_files() -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README.read_text())
    assert targets
    missing = [target for target in targets if not (README.parent / target).exists()]
    assert missing == []


def cosine_of_two_spins(temperature: float) -> float:
    """Return the mean of S_1 . S_2 by quadrature over the angle between them."""
    cosines, weights = np.polynomial.legendre.leggauss(60)
    energies = []
    for c in cosines:
        z, planar = np.diag([0.5, -0.5]), np.array([[0, 0.5], [0.5, 0]])
        hopping = -2 * np.eye(2)  # a ring of two is joined twice
        matrix = np.block([[z, hopping], [hopping, c * z + np.sqrt(1 - c**2) * planar]])
        energies.append(np.linalg.eigvalsh(matrix))
    logarithms = np.logaddexp(0, -np.array(energies) / temperature).sum(axis=1)
    density = weights * np.exp(logarithms - logarithms.max())
    return float(density @ cosines / density.sum())


@pytest.mark.slow
def test_example_samples_two_spins() -> None:
    printed = output_of(python_blocks()[3])
    mean, error = map(float, re.findall(r"= (\S+) \+- (\S+)", printed)[0])
    exact = cosine_of_two_spins(0.05)
    assert f"exact mean is {exact:.4f}" in README.read_text()
    assert 0 < error < 0.01
    assert abs(mean - exact) < 4 * error
