"""Data sets of spin configurations and their free energies, with where they come from.

A file holds the configurations of independent chains of the exact model, their F/T, to
which chain each belongs, which chains are held out for tests, and how all of it was
made. A run that is given a file refuses one of other parameters.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected
from physml.hamiltonians.spins import require_unit_spins
from physml.lattices import BravaisLattice
from physml.runs.folder import versions
from physml.training.checkpoint import write_atomically

FORMAT = "physml spin configurations 1"


class DataSet(NamedTuple):
    """Configurations of an exact model, in the order of their chains."""

    spins: np.ndarray  # (samples, n_1, ..., n_d, 3)
    free_energies: np.ndarray  # F/T, (samples,)
    chains: np.ndarray  # the number of the chain of each, (samples,)
    is_test: np.ndarray  # True on chains that are held out, (samples,)
    acceptance: np.ndarray  # of the chains' single-spin moves, a number

    def part(self, *, is_test: bool) -> tuple[jax.Array, jax.Array]:
        """Return spins and F/T to learn from, or those that are held out."""
        chosen = np.asarray(self.is_test) == is_test
        spins, free_energies = np.asarray(self.spins), np.asarray(self.free_energies)
        return jnp.asarray(spins[chosen]), jnp.asarray(free_energies[chosen])


def write_data_set(
    path: Path, data: DataSet, parameters: dict[str, Any], making: dict[str, Any]
) -> None:
    """Write a data set, all or nothing.

    Parameters
    ----------
    path
        The npz file.
    data
        The configurations.
    parameters
        Of the exact model: lattice, temperature and so on, as JSON has them.
    making
        How they were drawn: seed, sweeps and so on.
    """
    provenance = {
        "format": FORMAT,
        "parameters": parameters,
        "making": making,
        "versions": versions(),
    }
    arrays = {name: np.asarray(x) for name, x in data._asdict().items()}
    arrays["provenance"] = np.array(json.dumps(provenance))
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_atomically(path, content.getvalue())


def read_data_set(
    path: Path, parameters: dict[str, Any], lattice: BravaisLattice
) -> DataSet:
    """Read a data set of an exact model, checked.

    Parameters
    ----------
    path
        A file of `write_data_set`.
    parameters
        Of the model that is wanted.
    lattice
        Its sites.

    Raises
    ------
    ValueError
        If there is no such file, if it belongs to other parameters, or if it holds
        spins that are not of length 1, numbers that are not finite, or no
        configurations to learn from or to test with.
    """
    provenance, arrays = _read(path)
    require_same("a data set", provenance["parameters"], parameters, path)
    data = DataSet(*(arrays[name] for name in DataSet._fields))
    samples = len(data.spins)
    shapes = [np.shape(x) for x in data]
    wanted = [(samples, *lattice.shape, 3), (samples,), (samples,), (samples,), ()]
    if shapes != wanted:
        raise expected(
            f"arrays of shapes {wanted} in {path}", shapes, "make the data set again"
        )
    try:
        require_unit_spins(jnp.asarray(data.spins), lattice)
    except (ValueError, TypeError) as error:
        raise ValueError(f"In the data set {path}: {error}") from None
    _require_usable(data, path)
    return data


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return provenance and arrays."""
    try:
        content = io.BytesIO(path.read_bytes())  # np.load leaves bad files open
        with np.load(content, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        provenance = json.loads(str(arrays["provenance"]))
        is_ours = provenance["format"] == FORMAT and "parameters" in provenance
        is_ours = is_ours and arrays.keys() >= set(DataSet._fields)
    except OSError as error:
        raise expected(
            f"a data set in {path}",
            error.strerror or "a file of another kind",
            "leave out --data, or name the data.npz of an earlier run",
        ) from None
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        is_ours = False
    if not is_ours:
        raise expected(
            f"a file of '{FORMAT}' in {path}",
            "another or a damaged one",
            "name the data.npz of an earlier run",
        )
    return provenance, arrays


def require_same(
    what: str, saved: dict[str, Any], wanted: dict[str, Any], path: Path
) -> None:
    """Refuse a file that belongs to another exact model, and say what differs.

    Parameters
    ----------
    what
        The file, in words.
    saved, wanted
        Parameters of the exact model: those of the file, and those of the run.
    path
        Of the file.
    """
    different = [name for name in wanted if saved.get(name) != wanted[name]]
    if different:
        was = ", ".join(f"{name} = {saved.get(name)}" for name in different)
        now = ", ".join(f"{name} = {wanted[name]}" for name in different)
        raise expected(
            f"{what} with {now} in {path}",
            was,
            "give the options that it was made with, or name another file",
        )


def _require_usable(data: DataSet, path: Path) -> None:
    if not np.isfinite(data.free_energies).all():
        raise expected(
            f"finite free energies in {path}",
            "NaN or infinity",
            "make the data set again",
        )
    num_test = int(np.sum(data.is_test))
    if not 0 < num_test < len(data.spins):
        raise expected(
            f"configurations to learn from and others for tests in {path}",
            f"{num_test} of {len(data.spins)} for tests",
            "make the data set again",
        )
