"""Data sets: what is written is read again, and what can't be used is refused."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from physml.lattices import square
from physml.runs.self_learning.data_set import DataSet, read_data_set, write_data_set

LATTICE = square(2, 2)
PARAMETERS = {"lattice": "square", "size": [2, 2], "temperature": 0.05}


@pytest.fixture
def data():
    spins = np.random.default_rng(0).normal(size=(6, 2, 2, 3))
    spins /= np.linalg.norm(spins, axis=-1, keepdims=True)
    chains = np.arange(6) // 2
    return DataSet(
        jnp.asarray(spins),
        jnp.arange(6.0),
        jnp.asarray(chains),
        jnp.asarray(chains == 2),
        jnp.asarray(0.6),
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data.npz"


def test_a_data_set_is_read_as_it_was_written(path, data):
    write_data_set(path, data, PARAMETERS, {"seed": 3})
    again = read_data_set(path, PARAMETERS, LATTICE)
    for mine, theirs in zip(data, again, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)
    with np.load(path) as file:
        provenance = json.loads(str(file["provenance"]))
    assert provenance["making"] == {"seed": 3}
    assert provenance["parameters"] == PARAMETERS
    assert {"jax", "physml"} <= provenance["versions"].keys()
    spins, free_energies = again.part(is_test=True)
    assert spins.shape == (2, 2, 2, 3)
    np.testing.assert_array_equal(free_energies, [4.0, 5.0])


BAD = [
    ({"spins": lambda x: 1.1 * x}, "unnormalized spins"),
    ({"spins": lambda x: x.at[0, 0, 0, 0].set(jnp.nan)}, "NaN or infinity"),
    ({"spins": lambda x: x[:, :1]}, "arrays of shapes"),
    ({"free_energies": lambda x: x.at[2].set(jnp.inf)}, "finite free energies"),
    ({"free_energies": lambda x: x[:3]}, "arrays of shapes"),
    ({"is_test": lambda x: x & False}, "0 of 6 for tests"),
    ({"is_test": lambda x: x | True}, "6 of 6 for tests"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=lambda x: str(x)[:25])
def test_what_cannot_be_used_is_refused(path, data, change, message):
    changed = {name: f(getattr(data, name)) for name, f in change.items()}
    write_data_set(path, data._replace(**changed), PARAMETERS, {})
    with pytest.raises(ValueError, match=message):
        read_data_set(path, PARAMETERS, LATTICE)


def test_other_parameters_are_named(path, data):
    write_data_set(path, data, PARAMETERS | {"temperature": 0.1}, {})
    with pytest.raises(
        ValueError, match=r"temperature = 0.05 .* got temperature = 0.1"
    ):
        read_data_set(path, PARAMETERS, LATTICE)


def test_files_of_another_kind_are_refused(path):
    with pytest.raises(ValueError, match=r"No such file"):
        read_data_set(path, PARAMETERS, LATTICE)
    path.write_text("spins")
    with pytest.raises(ValueError, match="another or a damaged one"):
        read_data_set(path, PARAMETERS, LATTICE)
    np.savez(path, spins=np.zeros(3))
    with pytest.raises(ValueError, match="another or a damaged one"):
        read_data_set(path, PARAMETERS, LATTICE)


def test_a_truncated_file_is_refused(path, data):
    write_data_set(path, data, PARAMETERS, {})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="another or a damaged one"):
        read_data_set(path, PARAMETERS, LATTICE)
