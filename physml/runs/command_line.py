"""From the command line to a run and its exit code.

0: done; 1: the run failed; 2: bad input; 130, 143, 138: interrupted by Ctrl-C,
SIGTERM, SIGUSR1.
"""

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Protocol, Self, TypeVar

import tyro

from physml.failures import RunFailure
from physml.parallel import Communicator
from physml.parallel.meeting import leave_unmet, one_speaks
from physml.runs.interruption import Interrupted
from physml.runs.ranks import HasRanks, start_ranks
from physml.training.checkpoint import CheckpointError


class HasQuickDefaults(HasRanks, Protocol):
    """A configuration that has other defaults for a run of a few seconds."""

    @classmethod
    def quick_defaults(cls) -> Self:
        """Return the defaults that --quick stands for."""
        ...


Configuration = TypeVar("Configuration", bound=HasQuickDefaults)


def run_experiment(
    run: Callable[..., object],
    configuration: type[Configuration],
    arguments: Sequence[str] | None = None,
) -> None:
    """Read the options, run the experiment, leave with an exit code.

    Parameters
    ----------
    run
        Called with the configuration and the keyword `communicator`.
    configuration
        A dataclass: its fields are the options, their docstrings the help.
    arguments
        The command line, by default that of the process.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    is_quick = "--quick" in arguments
    with one_speaks():
        options = tyro.cli(
            configuration,
            args=[argument for argument in arguments if argument != "--quick"],
            default=configuration.quick_defaults() if is_quick else configuration(),
            description=inspect.getdoc(configuration),
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    communicator: Communicator | None = None  # until the ranks have met
    try:
        communicator = start_ranks(options)
        run(options, communicator=communicator)
    except (Exception, KeyboardInterrupt) as error:
        sentence, code = _sentence_and_code(error)
        leave = leave_unmet if communicator is None else communicator.leave
        leave(code, sentence)


def _sentence_and_code(error: BaseException) -> tuple[str, int]:
    """Turn what can happen to a user into a sentence; raise errors of the program."""
    match error:
        case ValueError() | CheckpointError():
            return str(error), 2
        case Interrupted():
            return str(error), error.exit_code
        case RunFailure():
            return str(error), 1
        case OSError():
            return (
                f"Could not write or read {error.filename or 'a file'}: "
                f"{error.strerror}. Make room and start again, with --resume if there "
                "is a checkpoint: it is intact.",
                1,
            )
        case KeyboardInterrupt():
            return "Interrupted before the first checkpoint; nothing was lost.", 130
    raise error
