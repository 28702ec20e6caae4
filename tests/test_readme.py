"""The example in the README runs as it stands and prints the right energies."""

import contextlib
import io
import re
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.linalg

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


@pytest.mark.slow
def test_example_prints_the_energies() -> None:
    (example,) = python_blocks()
    output = io.StringIO()
    # a reader's program has JAX's own promotion rules, and Optax's Adam needs them
    with contextlib.redirect_stdout(output), jax.numpy_dtype_promotion("standard"):
        exec(compile(example, str(README), "exec"), {})
    rows = re.findall(r"E_\d = (\S+), between (\S+) and (\S+)", output.getvalue())
    energy, lower, upper = np.array(rows, dtype=float).T
    exact = sinc_levels(2)
    last_digit = 1e-8
    np.testing.assert_allclose(energy, exact, rtol=0, atol=2 * last_digit)
    assert np.all((lower - last_digit <= exact) & (exact <= upper + last_digit))
    text = README.read_text()
    for n, value in enumerate(energy):
        assert f"E_{n} = {value:.8f}" in text


def test_links_lead_to_files() -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", README.read_text())
    assert targets
    missing = [target for target in targets if not (README.parent / target).exists()]
    assert missing == []
