"""How many cores, and so how many threads, a process uses.

XLA starts a thread for each core that the process may use, when JAX makes its first
array. So the number of threads is set by the set of cores, before that: by the launcher
(`mpirun --map-by slot:PE=4 --bind-to core`, `srun --cpus-per-task=4`) or by
`limit_threads`. BLAS and LAPACK, which XLA calls for factorizations on the CPU, have
threads of their own: see `blas_threads`.
"""

import os
import socket
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from threadpoolctl import threadpool_limits

from physml.failures import RunFailure, expected
from physml.parallel.communicator import Communicator
from physml.parallel.launcher import local_rank


def limit_threads(
    num_threads: int, communicator: Communicator | None = None
) -> tuple[int, ...]:
    """Give this process some of the cores it may use; return which.

    Processes that a launcher put on the same cores take different ones of them. With
    fewer cores than threads it warns and takes all.

    Parameters
    ----------
    num_threads
        How many threads XLA shall start.
    communicator
        That of MPI, which starts no threads of JAX: all ranks tell each other their
        cores. Without it a process goes by its number on the host, as if all processes
        there had the same cores.

    Raises
    ------
    physml.failures.RunFailure
        If JAX has started its threads already, or the system cannot bind processes.
    """
    require_threads(num_threads)
    if not hasattr(os, "sched_setaffinity"):
        raise RunFailure(
            "This system cannot bind a process to cores: leave out threads."
        )
    if num_xla_threads() > 0:
        raise RunFailure(
            "JAX has started its threads: call limit_threads before the first array."
        )
    available = usable_cores()
    if num_threads > len(available):
        warnings.warn(
            f"{num_threads} threads were asked for, but this process may use "
            f"{len(available)} cores: it takes {len(available)} threads.",
            stacklevel=2,
        )
    turn = local_rank() if communicator is None else _turn(available, communicator)
    cores = choose_cores(available, num_threads, turn)
    os.sched_setaffinity(0, cores)
    return cores


@contextmanager
def blas_threads(num_threads: int | None = None) -> Iterator[None]:
    """Limit the threads of BLAS and LAPACK within a block.

    Parameters
    ----------
    num_threads
        1 for many factorizations of small matrices, where more only get in each other's
        way: in training 5 to 50 times slower on two busy cores. None: as many as cores
        that the process may use; BLAS itself starts one for each core of the host, also
        where ranks share them.
    """
    limit = len(usable_cores()) if num_threads is None else num_threads
    with threadpool_limits(limits=limit, user_api="blas"):
        yield


def require_threads(num_threads: int) -> None:
    """Refuse no thread at all."""
    if num_threads < 1:
        raise expected("num_threads >= 1", num_threads, "ask for one thread or more")


def _turn(available: tuple[int, ...], communicator: Communicator) -> int:
    """Return how many ranks before this one have the same cores of the same host."""
    mine = (socket.gethostname(), available)
    return communicator.gather_objects(mine)[: communicator.process].count(mine)


def choose_cores(
    available: Sequence[int], num_threads: int, turn: int
) -> tuple[int, ...]:
    """Return the cores of a process among the available ones, in turns.

    Examples
    --------
    >>> [choose_cores((0, 1, 2, 3), 2, turn) for turn in range(3)]
    [(0, 1), (2, 3), (0, 1)]
    """
    count = min(num_threads, len(available))
    first = turn * count
    return tuple(sorted(available[(first + i) % len(available)] for i in range(count)))


def usable_cores() -> tuple[int, ...]:
    """Return the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def num_xla_threads() -> int:
    """Return the size of XLA's pool of threads; 0 before JAX's first array."""
    tasks = Path("/proc/self/task")
    names = [_read(path) for path in tasks.glob("*/comm")] if tasks.exists() else []
    return sum(name.startswith("tf_XLAEigen") for name in names)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the thread has ended meanwhile
        return ""
