"""The example of docs/clusters.md runs as it stands and prints the right number."""

import re
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "clusters.md"


def example() -> str:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return block


def fitted() -> str:
    x, slope = np.linspace(-1, 2, 37), 0.5
    for _ in range(100):
        prediction = np.tanh(slope * x)
        errors = (prediction - x) * (1 - prediction**2) * x
        slope -= 0.1 * 2 * np.sum(errors) / x.size
    return f"{slope:.10f}\n"


def test_example_on_one_process(run_python):
    assert run_python("-c", example()).stdout == fitted()
    assert f"# {fitted().strip()} on any number of ranks" in example()


@pytest.mark.slow
def test_example_on_three_ranks(run_ranks):
    assert run_ranks(3, "-c", example()).stdout == fitted()


def test_example_on_three_devices(run_python):
    flags = "--xla_force_host_platform_device_count=3"
    assert run_python("-c", example(), XLA_FLAGS=flags).stdout == fitted()


def test_links_lead_to_files():
    text = PAGE.read_text()
    named = set(
        re.findall(r"`((?:physml|tests|experiments|benchmarks)/[^`\s]+)`", text)
    )
    linked = set(re.findall(r"\]\(([^)#\s]+)", text))
    assert "physml/parallel/communicator.py" in named
    assert "../benchmarks/README.md" in linked
    files = [PAGE.parents[1] / name for name in named]
    files += [PAGE.parent / name for name in linked if "://" not in name]
    assert [str(file) for file in files if not file.exists()] == []
