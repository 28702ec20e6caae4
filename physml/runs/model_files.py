"""Files of effective spin models: one npz each, with where its numbers come from.

Parameters are arrays with plain names (`couplings`, `layer_0_query`), the rest is JSON:
the kind of the model, the lattice and the distances that the parameters belong to, and
the provenance. There is no pickle.
"""

import io
import json
from dataclasses import fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected
from physml.hamiltonians.effective_spins import EquivariantSpinModel, LinearSpinModel
from physml.lattices.bravais import BravaisLattice
from physml.lattices.pair_shells import PairShells
from physml.layers.spin_attention import SpinLayerWeights
from physml.training.checkpoint import write_atomically

FORMAT = "physml spin model 1"

SpinModel = LinearSpinModel | EquivariantSpinModel


def save_model(path: Path, model: SpinModel, provenance: dict[str, Any]) -> None:
    """Write a model, all or nothing.

    Parameters
    ----------
    path
        The npz file; its folder must be there.
    model
        A linear or an equivariant model.
    provenance
        Anything that JSON can hold: exact model, temperature, errors, versions.

    Raises
    ------
    ValueError
        For parameters that are not finite.
    OSError
        If the file cannot be written; an older one stays.
    """
    arrays = {name: np.asarray(array) for name, array in _named(model).items()}
    _require_finite(arrays, path)
    information = {
        "format": FORMAT,
        "kind": _kind(model),
        "shape": model.lattice.shape,
        "primitive_vectors": model.lattice.primitive_vectors,
        "squared_distances": _readout(model).pairs.squared_distances,
        "provenance": provenance,
    }
    content = io.BytesIO()
    text = np.array(json.dumps(information, allow_nan=False))
    np.savez(content, allow_pickle=False, information=text, **arrays)
    write_atomically(path, content.getvalue())


def load_model(
    path: Path,
    lattice: BravaisLattice | None = None,
    *,
    kind: str | None = None,
    num_shells: int | None = None,
) -> tuple[SpinModel, dict[str, Any]]:
    """Read a model and its provenance.

    Parameters
    ----------
    path
        What `save_model` wrote.
    lattice
        Where the model shall be; None for the lattice it was trained on.
    kind
        "linear", or the kind of its layers, that the model must have; None for any.
    num_shells
        How many couplings its linear part must have; None for any number.

    Raises
    ------
    ValueError
        If there is no such file, it is damaged, it holds another model than is wanted,
        or the lattice has no pairs at some of its distances.
    """
    information, arrays = _read(path)
    _require_finite(arrays, path)
    _require_wanted(path, "the kind of model", kind, information["kind"])
    _require_wanted(path, "the number of shells", num_shells, arrays["couplings"].size)
    trained_on = BravaisLattice(
        tuple(information["shape"]), tuple(map(tuple, information["primitive_vectors"]))
    )
    pairs = PairShells(trained_on, tuple(information["squared_distances"]))
    model = _rebuilt(arrays, pairs)
    model = model if lattice is None else model.on(lattice)
    return model, information["provenance"]


def _named(model: SpinModel) -> dict[str, jax.Array]:
    """Return the parameters by name."""
    readout = _readout(model)
    named = {"constant": readout.constant, "couplings": readout.couplings}
    for number, weights in enumerate(_layers(model)):
        for part in fields(weights):
            array = getattr(weights, part.name)
            if array is not None:
                named[f"layer_{number}_{part.name}"] = array
    return named


def _rebuilt(arrays: dict[str, np.ndarray], pairs: PairShells) -> SpinModel:
    parameters = {name: jnp.asarray(array) for name, array in arrays.items()}
    constant, couplings = parameters.pop("constant"), parameters.pop("couplings")
    readout = LinearSpinModel(constant, couplings, pairs)
    layers: dict[int, dict[str, jax.Array]] = {}
    for name, array in parameters.items():
        _, number, part = name.split("_", 2)
        layers.setdefault(int(number), {})[part] = array
    if not layers:
        return readout
    weights = (SpinLayerWeights(**layers[number]) for number in sorted(layers))
    return EquivariantSpinModel(tuple(weights), readout)


def _readout(model: SpinModel) -> LinearSpinModel:
    return model if isinstance(model, LinearSpinModel) else model.readout


def _layers(model: SpinModel) -> tuple[SpinLayerWeights, ...]:
    return () if isinstance(model, LinearSpinModel) else model.layers


def _kind(model: SpinModel) -> str:
    layers = _layers(model)
    return layers[0].kind if layers else "linear"


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the information and the parameters of a file."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        information = json.loads(str(arrays.pop("information")))
        is_ours = information["format"] == FORMAT
    except FileNotFoundError:
        raise expected(f"a model in {path}", "no file", "name a model file") from None
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile):
        is_ours = False
    if not is_ours:
        raise expected(
            f"a file of '{FORMAT}' in {path}",
            "something else, or a damaged file",
            "name a file that save_model has written",
        )
    return information, arrays


def _require_finite(arrays: dict[str, np.ndarray], path: Path) -> None:
    for name, array in arrays.items():
        if not np.all(np.isfinite(array)):
            raise expected(
                f"finite parameters in the model of {path}",
                f"NaN or infinity in {name}",
                "train it again",
            )


def _require_wanted(path: Path, what: str, wanted: object, found: object) -> None:
    if wanted is not None and wanted != found:
        raise expected(
            f"{wanted} as {what} in {path}",
            found,
            "name another model file, or ask for what this one holds",
        )
