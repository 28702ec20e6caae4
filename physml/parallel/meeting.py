"""How a process ends before it has a communicator: it meets the other ranks first."""

import io
import time
from collections.abc import Iterator
from contextlib import (
    ExitStack,
    contextmanager,
    redirect_stderr,
    redirect_stdout,
    suppress,
)
from typing import NoReturn

from physml.parallel import mpi
from physml.parallel.communicator import print_error
from physml.parallel.launcher import launched_rank, num_launched


def leave_unmet(exit_code: int, sentence: str = "") -> NoReturn:
    """End this process with an exit code, and the others if they go on without it.

    As `Communicator.leave`, for what goes wrong before there is a communicator: where
    several processes were launched it starts MPI, so that one of them speaks for all
    that have the same trouble, and one that has it alone is heard.

    Parameters
    ----------
    exit_code
        Of this process.
    sentence
        What the first process prints to stderr, or one that leaves alone.
    """
    knows_others = num_launched() == 1 or mpi.has_started()
    if not knows_others:
        with suppress(ValueError):  # no MPI here, or other versions
            mpi.MpiCommunicator().leave(exit_code, sentence)
    if launched_rank() == 0 or not (knows_others or mpi.has_started()):
        time.sleep(min(launched_rank(), 1))  # the first one may end the job
        print_error(sentence)
    raise SystemExit(exit_code)


@contextmanager
def one_speaks() -> Iterator[None]:
    """Let one process show what a parser of options says, and end all if it exits."""
    said = io.StringIO()
    try:
        with ExitStack() as silenced:
            if launched_rank() > 0:
                silenced.enter_context(redirect_stdout(said))
                silenced.enter_context(redirect_stderr(said))
            yield
    except SystemExit as end:
        if isinstance(end.code, int) and end.code > 0:
            leave_unmet(end.code, said.getvalue())
        raise
