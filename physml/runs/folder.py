"""The folder of a run: result, records, pictures, checkpoint."""

import io
import json
import os
import platform
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from physml.failures import expected
from physml.training.checkpoint import MANIFEST, write_atomically

RESULT, RECORDS, CHECKPOINT = "result.json", "records.jsonl", "checkpoint"


@dataclass(frozen=True)
class RunFolder:
    """Where a run writes.

    Parameters
    ----------
    path
        The folder; made with the first file.
    """

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The folder of the checkpoint."""
        return self.path / CHECKPOINT

    @property
    def has_checkpoint(self) -> bool:
        """Whether a run has left a checkpoint here."""
        return (self.checkpoint / MANIFEST).exists()

    def append_records(self, rows: list[dict[str, Any]]) -> None:
        """Add lines to the records."""
        with (self.path / RECORDS).open("a") as file:
            file.writelines(json.dumps(row, allow_nan=False) + "\n" for row in rows)

    def sync_records(self) -> None:
        """Make sure that the records are on the disk."""
        with (self.path / RECORDS).open("a") as file:
            os.fsync(file.fileno())

    def cut_records(self, num_rows: int) -> list[dict[str, Any]]:
        """Drop what was written after the checkpoint; return what stays."""
        path = self.path / RECORDS
        lines = path.read_text().splitlines()[:num_rows] if path.exists() else []
        if len(lines) < num_rows:
            raise expected(
                f"{num_rows} lines in {path}, as its checkpoint says",
                len(lines),
                "the records were changed by hand; start in a new folder",
            )
        write_atomically(path, "".join(line + "\n" for line in lines).encode())
        return [json.loads(line) for line in lines]

    def write_result(self, result: dict[str, Any]) -> None:
        """Write result.json, all or nothing."""
        text = json.dumps(result, indent=2, allow_nan=False) + "\n"
        write_atomically(self.path / RESULT, text.encode())

    def write_arrays(self, name: str, **arrays: np.ndarray) -> None:
        """Write an npz file, all or nothing."""
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        write_atomically(self.path / name, content.getvalue())


def open_folder(out: Path | None, experiment: str, *, resume: bool) -> RunFolder:
    """Find the folder of a run and make sure that it can be written.

    Parameters
    ----------
    out
        What the user asked for; by default a new folder under runs/, named after the
        experiment and the time.
    experiment
        The name of the experiment.
    resume
        Whether the folder must hold a checkpoint, or must not hold a run.

    Raises
    ------
    ValueError
        If the folder holds another run, holds none to resume, or can't be written.
    """
    if resume and out is None:
        raise expected("--out DIR with --resume", "no folder", "name the run's folder")
    if out is None:
        out = Path("runs") / f"{experiment}-{datetime.now():%Y-%m-%d-%H%M%S}"
    folder = RunFolder(out)
    is_used = folder.has_checkpoint or (out / RESULT).exists()
    if resume and not folder.has_checkpoint:
        raise expected(
            f"a checkpoint in {folder.checkpoint}", "none", "start without --resume"
        )
    if is_used and not resume:
        raise expected(
            f"a folder without an earlier run, to lose nothing, for --out {out}",
            "one with a run in it",
            "add --resume to go on with it, or choose another folder",
        )
    _require_writable(out)
    if not resume:  # a run that ended before its first checkpoint has left some
        (out / RECORDS).unlink(missing_ok=True)
    return folder


def _require_writable(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".write-test"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise expected(
            f"a folder that can be written for --out {path}",
            error.strerror,
            "choose another folder",
        ) from None


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    packages = ("physml", "jax", "jaxlib", "flax", "optax", "numpy", "scipy")
    return {"python": platform.python_version()} | {p: version(p) for p in packages}
