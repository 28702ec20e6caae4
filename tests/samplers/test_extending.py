"""The proposal in docs/extending.md runs as it stands and finds the exact number."""

import contextlib
import io
import re
from pathlib import Path

import jax
import pytest
from spin_densities import exact_pair

DOCUMENT = Path(__file__).parents[2] / "docs" / "extending.md"


def test_the_proposal_samples_the_exact_average():
    section = DOCUMENT.read_text().split("## A proposal for Monte Carlo\n")[1]
    program = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert program is not None
    output = io.StringIO()
    with contextlib.redirect_stdout(output), jax.numpy_dtype_promotion("standard"):
        exec(compile(program[1], str(DOCUMENT), "exec"), {})
    printed = re.fullmatch(r"(\S+) \+- (\S+), exact (\S+)\n", output.getvalue())
    assert printed is not None
    mean, error, exact = map(float, printed.groups())
    assert exact == pytest.approx(exact_pair(1.0, 1.0)["z"], abs=5e-5)
    assert abs(mean - exact) < 4 * error < 0.02
