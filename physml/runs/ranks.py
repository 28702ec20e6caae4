"""The ranks of a run: how many, of which kind, with how many threads."""

from typing import Any, Protocol

import jax
import jax.numpy as jnp

from physml.failures import expected
from physml.parallel import (
    Communicator,
    CommunicatorName,
    choose_communicator,
)
from physml.parallel.launcher import num_launched
from physml.parallel.places import all_places, warnings_about
from physml.parallel.threads import usable_cores


class HasRanks(Protocol):
    """The options of a run that say where it runs."""

    @property
    def communicator(self) -> CommunicatorName:
        """The kind of ranks."""
        ...

    @property
    def devices(self) -> int | None:
        """How many devices of this process are ranks."""
        ...

    @property
    def threads(self) -> int | None:
        """How many threads each process has."""
        ...


def start_ranks(options: HasRanks) -> Communicator:
    """Limit the threads, start MPI or divide the devices; before JAX's first array.

    Raises
    ------
    ValueError
        If there are not as many devices, no MPI where it was asked for, or several
        processes where one was.
    physml.failures.RunFailure
        If JAX has started its threads already.
    """
    _refuse_many_runs(options)
    name = options.communicator
    if name == "auto" and options.devices is not None:
        name = "sharded"
    if name == "auto" and num_launched() == 1:
        name = "serial"  # several GPUs are used when they are asked for
    return choose_communicator(
        name, num_devices=options.devices, num_threads=options.threads
    )


def _refuse_many_runs(options: HasRanks) -> None:
    """Refuse what would be one run in each process, all of them in one folder."""
    is_each_alone = options.communicator in ("serial", "sharded") or options.devices
    if is_each_alone and num_launched() > 1 and not jax.distributed.is_initialized():
        given = (
            "--devices" if options.devices else f"--communicator {options.communicator}"
        )
        raise expected(
            f"one process for {given}",
            f"{num_launched()} under mpirun or srun",
            "start one, or leave the option out",
        )


def describe_ranks(communicator: Communicator) -> dict[str, Any]:
    """Return what a result says about where it was made."""
    return {
        "communicator": communicator.name,
        "number": communicator.size,
        "threads": len(usable_cores()),
    }


def ranks_sentence(communicator: Communicator) -> str:
    """Say where the run runs, and what is wrong with that; on all processes."""
    jax.block_until_ready(jnp.zeros(1))  # starts the threads
    faults = warnings_about(all_places(communicator))
    size, threads = communicator.size, len(usable_cores())
    ranks = "1 rank" if size == 1 else f"{size} ranks"
    threads_of_each = "1 thread" if threads == 1 else f"{threads} threads"
    where = f"Running on {ranks} ({communicator.name}, {communicator.library}), "
    return "\n".join([where + f"{threads_of_each} in a process", *faults])


def say_on_root(communicator: Communicator, line: str) -> None:
    """Print a line once, not once for each process."""
    if communicator.is_root:
        print(line, flush=True)
