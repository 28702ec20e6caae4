"""Files of models: exact round trips, and one sentence for what cannot be used."""

from pathlib import Path
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.hamiltonians import (
    EquivariantSpinModel,
    LinearSpinModel,
    random_equivariant_model,
)
from physml.lattices import pair_shells, square, triangular
from physml.layers import SpinLayerKind
from physml.runs.model_files import load_model, save_model

KINDS: tuple[SpinLayerKind, ...] = get_args(SpinLayerKind)
PROVENANCE = {"temperature": 0.05, "test_mse": 0.3}


def linear_model() -> LinearSpinModel:
    couplings = jnp.array([0.1, -1 / 3, 0.7])
    return LinearSpinModel(jnp.array(np.pi), couplings, pair_shells(square(6, 6), 3))


def equivariant_model(kind: SpinLayerKind) -> EquivariantSpinModel:
    return random_equivariant_model(
        jax.random.key(0), linear_model(), kind=kind, num_layers=11, block_shells=6
    )


@pytest.mark.parametrize("kind", ["linear", *KINDS])
def test_round_trip_is_exact(tmp_path: Path, kind: str) -> None:
    """With eleven layers, whose numbers do not sort as words."""
    path = tmp_path / "model.npz"
    model = linear_model() if kind == "linear" else equivariant_model(kind)  # type: ignore[arg-type]
    save_model(path, model, PROVENANCE)
    found, provenance = load_model(path, kind=kind, num_shells=3)
    assert provenance == PROVENANCE
    assert jax.tree.structure(found) == jax.tree.structure(model)
    jax.tree.map(np.testing.assert_array_equal, found, model)
    elsewhere, _ = load_model(path, square(8, 8))
    assert elsewhere.lattice == square(8, 8)
    assert jax.tree.structure(elsewhere) == jax.tree.structure(model.on(square(8, 8)))
    assert [file.name for file in tmp_path.iterdir()] == ["model.npz"]


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    save_model(path, equivariant_model("attention"), PROVENANCE)
    with pytest.raises(ValueError, match=r"convolution as the kind .* got attention"):
        load_model(path, kind="convolution")
    with pytest.raises(ValueError, match=r"4 as the number of shells .* got 3"):
        load_model(path, num_shells=4)
    with pytest.raises(ValueError, match=r"squared distance 9, got shape \(4, 4\)"):
        load_model(path, square(4, 4))
    with pytest.raises(ValueError, match="same kind of lattice"):
        load_model(path, triangular(6, 6))
    with pytest.raises(ValueError, match="no file: name a model file"):
        load_model(tmp_path / "other.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"text"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged file: name a file"):
        load_model(path)
    np.savez(path, couplings=np.ones(3))
    with pytest.raises(ValueError, match="damaged file: name a file"):
        load_model(path)


def test_nan_is_neither_written_nor_read(tmp_path: Path) -> None:
    path, model = tmp_path / "model.npz", linear_model()
    save_model(path, model, PROVENANCE)
    before = path.read_bytes()
    broken = jax.tree.map(lambda x: x * jnp.nan, model)
    with pytest.raises(ValueError, match="NaN or infinity in constant: train"):
        save_model(path, broken, PROVENANCE)
    assert path.read_bytes() == before
    with np.load(path) as file:
        arrays = dict(file)
    arrays["couplings"][1] = np.nan
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="NaN or infinity in couplings: train"):
        load_model(path)
