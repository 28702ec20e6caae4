"""The examples of the docstrings do what they say, as a user runs them."""

import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

import physml

ROOT = Path(physml.__file__).parent
MODULES = [
    ".".join(("physml", *path.relative_to(ROOT).with_suffix("").parts))
    for path in sorted(ROOT.rglob("*.py"))
    if ">>> " in path.read_text()
]


@pytest.fixture
def settings_of_a_user() -> Iterator[None]:
    """Float32 and JAX's own promotion; an example may ask for float64."""
    physml.enable_x64(False)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
    physml.enable_x64()


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.usefixtures("settings_of_a_user")
def test_examples(name):
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.testmod(importlib.import_module(name), optionflags=options)
    assert found.attempted > 0
    assert found.failed == 0
