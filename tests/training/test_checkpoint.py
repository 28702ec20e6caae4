import errno
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.training import (
    CheckpointError,
    load_checkpoint,
    read_manifest,
    save_checkpoint,
)
from physml.training import checkpoint as checkpoint_module

TREE = {
    "weights": [jnp.arange(6.0).reshape(2, 3), jnp.ones(2, np.float32)],
    "psi": jnp.array([1 + 2j]),
    "step": jnp.asarray(7),
}


def zeros_like(tree):
    return jax.tree.map(jnp.zeros_like, tree)


def assert_same(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_what_is_saved_is_loaded(tmp_path):
    save_checkpoint(tmp_path / "a" / "b", TREE, {"step": 7})
    assert read_manifest(tmp_path / "a" / "b") == {"step": 7}
    assert_same(load_checkpoint(tmp_path / "a" / "b", zeros_like(TREE)), TREE)


def test_only_the_newest_arrays_stay(tmp_path):
    for step in range(3):
        save_checkpoint(tmp_path, {"step": jnp.asarray(step)}, {"step": step})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 2
    loaded = load_checkpoint(tmp_path, {"step": jnp.asarray(0)})
    assert loaded["step"] == 2


def test_no_pickle_in_it(tmp_path):
    save_checkpoint(tmp_path, TREE, {})
    (arrays,) = tmp_path.glob("*.npz")
    with np.load(arrays, allow_pickle=False) as file:
        assert len(file.files) == 4
    json.loads((tmp_path / "manifest.json").read_text())


def test_full_disk_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, {"x": jnp.asarray(1.0)}, {"step": 1})

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint_module.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, {"x": jnp.asarray(2.0)}, {"step": 2})
    monkeypatch.undo()
    assert read_manifest(tmp_path) == {"step": 1}
    assert load_checkpoint(tmp_path, {"x": jnp.asarray(0.0)})["x"] == 1.0
    assert not list(tmp_path.glob("*.tmp"))


def damage_arrays(folder):
    (arrays,) = folder.glob("*.npz")
    arrays.write_bytes(arrays.read_bytes()[:-20])


def remove_arrays(folder):
    next(folder.glob("*.npz")).unlink()


def truncate_manifest(folder):
    path = folder / "manifest.json"
    path.write_text(path.read_text()[:30])


def write_foreign_manifest(folder):
    (folder / "manifest.json").write_text('{"model": 3}')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_arrays, "damaged or missing"),
        (remove_arrays, "damaged or missing"),
        (truncate_manifest, "found something else"),
        (write_foreign_manifest, "found something else"),
    ],
)
def test_damaged_checkpoints_are_named(tmp_path, damage, message):
    save_checkpoint(tmp_path, TREE, {})
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path, TREE)


def test_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="found none"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "other",
    [
        {"x": jnp.zeros(3)},
        {"x": jnp.zeros(2, np.float32)},
        {"x": jnp.zeros(2), "y": jnp.zeros(1)},
    ],
)
def test_arrays_of_another_run_are_refused(tmp_path, other):
    save_checkpoint(tmp_path, {"x": jnp.zeros(2)}, {})
    with pytest.raises(CheckpointError, match="found others"):
        load_checkpoint(tmp_path, other)
