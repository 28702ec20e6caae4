"""Checkpoints without pickle: arrays in npz, everything else in JSON.

A checkpoint folder holds `manifest.json` and the one npz file that it names, with its
SHA-256. A new npz is written under a temporary name, synced and renamed; then the
manifest is replaced the same way, which is the moment at which the new checkpoint
counts. A process that is killed at any time leaves the old one or the new one whole.
"""

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from physml.failures import RunFailure

FORMAT = "physml checkpoint 1"
MANIFEST = "manifest.json"
KEYS = {"format", "arrays", "sha256", "information"}


class CheckpointError(RunFailure):
    """A checkpoint that cannot be used; the message says why and what to do."""


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file by new content, all or nothing, even if the process is killed.

    Raises
    ------
    OSError
        If the content cannot be written; the old file is left as it was.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def save_checkpoint(folder: Path, tree: Any, information: dict[str, Any]) -> None:
    """Write a pytree of arrays and what belongs to it.

    Parameters
    ----------
    folder
        Made if it is not there.
    tree
        A pytree of arrays.
    information
        Anything that JSON can hold: counters, the configuration.

    Raises
    ------
    OSError
        If the checkpoint cannot be written; the older one stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    named: dict[str, Any] = {f"leaf_{i:05d}": leaf for i, leaf in enumerate(leaves)}
    np.savez(buffer, **named)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    arrays = folder / f"arrays-{digest[:16]}.npz"
    write_atomically(arrays, content)
    manifest = {
        "format": FORMAT,
        "arrays": arrays.name,
        "sha256": digest,
        "information": information,
    }
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=2).encode())
    for old in folder.glob("arrays-*.npz"):
        if old != arrays:
            old.unlink()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the information of a checkpoint.

    Raises
    ------
    CheckpointError
        If there is no checkpoint, or the folder holds something else.
    """
    return _checked_manifest(folder)["information"]


def load_checkpoint(folder: Path, template: Any) -> Any:
    """Return the pytree of a checkpoint.

    Parameters
    ----------
    folder
        Where `save_checkpoint` wrote.
    template
        A pytree of the same structure, of arrays or `jax.ShapeDtypeStruct`.

    Raises
    ------
    CheckpointError
        If the arrays are damaged, or do not fit the template.
    """
    manifest = _checked_manifest(folder)
    arrays = folder / manifest["arrays"]
    content = arrays.read_bytes() if arrays.is_file() else b""
    if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
        raise CheckpointError(
            f"Expected the arrays of the checkpoint in {arrays}, found a damaged or "
            "missing file: start again without --resume in a new folder."
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        leaves = [file[name] for name in sorted(file.files)]
    wanted, structure = jax.tree.flatten(template)
    if [(x.shape, x.dtype) for x in leaves] != [(x.shape, x.dtype) for x in wanted]:
        raise CheckpointError(
            f"Expected the arrays in {arrays} to fit this run, found others: resume "
            "with the configuration that wrote them."
        )
    return jax.tree.unflatten(structure, [jax.numpy.asarray(leaf) for leaf in leaves])


def _checked_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise CheckpointError(
            f"Expected a checkpoint in {folder}, found none: start without --resume."
        )
    try:
        manifest = json.loads(path.read_text())
        is_ours = manifest["format"] == FORMAT and manifest.keys() >= KEYS
    except (ValueError, KeyError, TypeError):
        is_ours = False
    if not is_ours:
        raise CheckpointError(
            f"Expected {path} to be a manifest of '{FORMAT}', found something else: "
            "it was truncated or written by another program; start in a new folder."
        )
    return manifest


def _sync_folder(folder: Path) -> None:
    """Let a rename reach the disk; not every system can open a folder."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
