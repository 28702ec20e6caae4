"""One run in its folder: options, records, progress, checkpoints, interruption.

This is what every experiment does around its computation. The computation goes on from
a snapshot, and now and then calls an observer with a snapshot and new records; a
`Computation` says how these are written down and read back.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, TypeVar

import jax
import numpy as np

from physml.failures import expected
from physml.parallel import Communicator, CommunicatorName
from physml.runs.folder import RunFolder, open_folder, versions
from physml.runs.interruption import Interrupted, SignalFlag, watched_signals
from physml.runs.progress import ProgressLine, progress_line
from physml.runs.ranks import describe_ranks, ranks_sentence, say_on_root
from physml.training.checkpoint import (
    CheckpointError,
    load_checkpoint,
    read_manifest,
    save_checkpoint,
)

NOT_COMPARED = {"out", "resume", "quick", "time_limit"}
NOT_COMPARED |= {"communicator", "devices", "threads"}  # any ranks may resume
SECONDS_BETWEEN_CHECKPOINTS = 2.0
SHARE_OF_SAVING = 0.05  # of the time, at most: large checkpoints come less often

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class RunConfiguration:
    """Options of every experiment."""

    time_limit: float | None = None
    """End after so many seconds. By default no limit."""
    seed: int = 0
    """Of all random numbers."""
    out: Path | None = None
    """Folder for all that the run writes. By default runs/NAME-DATE-TIME."""
    resume: bool = False
    """Go on from the checkpoint in --out, with the same options."""
    quick: bool = False
    """Other defaults, for a short run."""
    communicator: CommunicatorName = "auto"
    """serial: one rank; mpi: those of mpirun or srun; sharded: devices of this process;
    auto: mpi under mpirun or srun, sharded with --devices, else serial."""
    devices: int | None = None
    """Devices of this process to divide the work over; on a CPU, shares of its
    cores."""
    threads: int | None = None
    """Threads of each process. By default one for each core it may use."""

    def __post_init__(self) -> None:
        """Refuse a seed that JAX can't take."""
        if not 0 <= self.seed < 2**63:
            raise expected("a seed from 0 to 2^63 - 1", self.seed, "choose another")

    @classmethod
    def quick_defaults(cls) -> Self:
        """Return the defaults that --quick stands for."""
        return cls(quick=True)

    def comparable(self) -> dict[str, Any]:
        """Return the options that a checkpoint shares with the run that resumes it."""
        options = asdict(self).items()
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in options}
        return {name: v for name, v in plain.items() if name not in NOT_COMPARED}


class Standing(NamedTuple):
    """Where a run stands."""

    place: str  # as in "in level 2"
    steps: int  # done, of all steps of the run or of its part
    line: str  # what the progress line says
    part_steps: int | None = None  # of the part, where parts go at paces of their own


class Computation(Protocol):
    """How the snapshots and records of a computation are written and read."""

    @property
    def num_steps(self) -> int:
        """The most steps that the run may take."""
        ...

    def rows(self, snapshot: Any, records: Any) -> list[dict[str, Any]]:
        """Return the lines of records.jsonl for new records."""
        ...

    def standing(self, row: dict[str, Any]) -> Standing:
        """Say where the run stands at a line of its records."""
        ...

    def pack(self, snapshot: Any) -> tuple[Any, dict[str, Any]]:
        """Return a snapshot as a pytree of arrays, and what JSON can hold."""
        ...

    def template(self, information: dict[str, Any]) -> Any:
        """Return the shapes and dtypes of the pytree that goes with the information."""
        ...

    def unpack(self, tree: Any, information: dict[str, Any]) -> Any:
        """Return the snapshot again."""
        ...


@dataclass
class Run:
    """One run, made by `open_run`: first `perform`, then `finish`."""

    name: str
    configuration: RunConfiguration
    computation: Computation
    folder: RunFolder
    started: float
    communicator: Communicator
    rows: list[dict[str, Any]] = field(default_factory=list)
    _snapshot: Any = None  # to go on from
    _seconds_before: float = 0.0
    _unsaved: Any = None
    _saved_at: float = field(default_factory=time.monotonic)
    _save_after: float = SECONDS_BETWEEN_CHECKPOINTS

    @property
    def seconds(self) -> float:
        """The time spent, earlier parts of a resumed run included."""
        return self._seconds_before + time.monotonic() - self.started

    def restore(self) -> None:
        """Read the checkpoint, check that it belongs to this run, cut the records.

        Raises
        ------
        CheckpointError
            If the checkpoint can't be used, or belongs to other options.
        """
        information, tree, self.rows = self.communicator.on_root(self._read)
        self._seconds_before = information["seconds"]
        self._snapshot = self.computation.unpack(tree, information)

    def _read(self) -> tuple[dict[str, Any], Any, list[dict[str, Any]]]:
        information = read_manifest(self.folder.checkpoint)
        _require_same(information["configuration"], self.configuration.comparable())
        template = self.computation.template(information)
        tree = load_checkpoint(self.folder.checkpoint, template)
        return information, tree, self.folder.cut_records(information["num_records"])

    def perform(self, compute: Callable[..., Result]) -> Result:
        """Compute from the start or from the checkpoint, with a checkpoint at the end.

        One is written as well if the computation fails.

        Parameters
        ----------
        compute
            Called with the keywords `observer` and `snapshot` (None at the start).
        """
        total = self.computation.num_steps
        is_root = self.communicator.is_root
        with watched_signals() as flag, progress_line(total, is_shown=is_root) as line:
            observer = partial(self._observe, flag, line)
            try:
                return compute(observer=observer, snapshot=self._snapshot)
            finally:
                if self._unsaved is not None:
                    self._save(self._unsaved)

    def finish(self, entries: dict[str, Any]) -> None:
        """Write the result and say where it is.

        Parameters
        ----------
        entries
            Of result.json, besides those that every result has.
        """
        self.folder.write_result(
            {
                "experiment": self.name,
                "config": self.configuration.comparable(),
                **entries,
                "ranks": describe_ranks(self.communicator),
                "seconds": round(self.seconds, 3),
                "versions": versions(),
            }
        )
        print(f"{self.seconds:.1f} s. Results and pictures are in {self.folder.path}")

    def _observe(
        self, flag: SignalFlag, line: ProgressLine, snapshot: Any, records: Any
    ) -> bool:
        """Note the records, save now and then, and stop if a signal came."""
        new = self.computation.rows(snapshot, records)
        self.rows += new
        if self.communicator.is_root:
            self.folder.append_records(new)
        standing = self.computation.standing(self.rows[-1])
        line.update(standing.steps, standing.line, standing.part_steps)
        self._unsaved = snapshot
        signals = self.communicator.gather_objects(flag.number)
        number = next((number for number in signals if number is not None), None)
        is_due = time.monotonic() - self._saved_at > self._save_after
        if is_due or number is not None:
            self._save(snapshot)
        if number is not None:
            raise Interrupted(
                f"Interrupted {standing.place} after {self.seconds:.0f} s; go on with "
                f"the same options and --out {self.folder.path} --resume.",
                number,
            )
        return False

    def _save(self, snapshot: Any) -> None:
        started, self._unsaved = time.monotonic(), None
        if self.communicator.is_root:
            self._write(snapshot)
        self._saved_at = time.monotonic()
        took = self._saved_at - started
        self._save_after = max(SECONDS_BETWEEN_CHECKPOINTS, took / SHARE_OF_SAVING)

    def _write(self, snapshot: Any) -> None:
        self.folder.sync_records()
        tree, information = self.computation.pack(snapshot)
        common = {
            "configuration": self.configuration.comparable(),
            "num_records": len(self.rows),
            "seconds": self.seconds,
        }
        save_checkpoint(self.folder.checkpoint, tree, common | information)


def open_run(
    name: str,
    configuration: RunConfiguration,
    computation: Computation,
    *,
    started: float,
    communicator: Communicator,
) -> Run:
    """Find the folder of a run and, to go on with it, its checkpoint.

    Nothing is written before, so check the options first.

    Parameters
    ----------
    name
        Of the experiment.
    configuration
        Its options.
    computation
        How its snapshots are written and read.
    started
        `time.monotonic()` when the run began.
    communicator
        The ranks; the root alone reads and writes files.

    Raises
    ------
    ValueError
        If an option is NaN or infinite, or the folder holds another run, holds none to
        resume, or can't be written.
    CheckpointError
        If the checkpoint can't be used, or belongs to other options.
    """
    _require_finite(configuration.comparable())
    communicator.require_agreement(asdict(configuration) | {"threads": None})
    folder = communicator.on_root(
        partial(open_folder, configuration.out, name, resume=configuration.resume)
    )
    say_on_root(communicator, ranks_sentence(communicator))
    where = f"Writing to {folder.path}; compiling takes a few seconds"
    say_on_root(communicator, where)
    run = Run(name, configuration, computation, folder, started, communicator)
    if configuration.resume:
        run.restore()
    return run


def _require_finite(options: dict[str, Any]) -> None:
    """Refuse what JSON can't hold; also where the computation does not look at it."""
    for name, value in options.items():
        numbers = [x for x in jax.tree.leaves(value) if isinstance(x, float)]
        if not np.isfinite(numbers).all():
            raise expected("finite numbers", f"{name} = {value}", "see --help")


def _require_same(saved: dict[str, Any], given: dict[str, Any]) -> None:
    different = [name for name in given if saved.get(name) != given[name]]
    if different:
        was = ", ".join(f"{name} = {saved.get(name)}" for name in different)
        now = ", ".join(f"{name} = {given[name]}" for name in different)
        raise CheckpointError(
            f"Expected the options of the checkpoint ({was}), got {now}: resume with "
            "the same options, or start in a new folder."
        )
