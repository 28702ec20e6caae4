"""From the command line to a run and its exit code.

0: done; 1: the run failed; 2: bad input; 130, 143: interrupted by Ctrl-C, SIGTERM.
"""

import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol, Self, TypeVar

import tyro

from physml.failures import RunFailure
from physml.runs.interruption import Interrupted
from physml.training.checkpoint import CheckpointError


class HasQuickDefaults(Protocol):
    """A configuration that has other defaults for a run of a few seconds."""

    @classmethod
    def quick_defaults(cls) -> Self:
        """Return the defaults that --quick stands for."""
        ...


Configuration = TypeVar("Configuration", bound=HasQuickDefaults)


def run_experiment(
    run: Callable[[Configuration], object],
    configuration: type[Configuration],
    arguments: Sequence[str] | None = None,
) -> None:
    """Read the options, run the experiment, leave with an exit code.

    Parameters
    ----------
    run
        Takes the configuration; its return value is dropped.
    configuration
        A dataclass: its fields are the options, their docstrings the help.
    arguments
        The command line, by default that of the process.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    is_quick = "--quick" in arguments
    options = tyro.cli(
        configuration,
        args=[argument for argument in arguments if argument != "--quick"],
        default=configuration.quick_defaults() if is_quick else configuration(),
        description=configuration.__doc__,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    try:
        run(options)
    except (ValueError, CheckpointError) as error:
        _leave(str(error), 2)
    except Interrupted as interruption:
        _leave(str(interruption), interruption.exit_code)
    except RunFailure as failure:
        _leave(str(failure), 1)
    except OSError as error:
        _leave(
            f"Could not write or read {error.filename or 'a file'}: {error.strerror}. "
            "An earlier checkpoint is intact; make room and resume.",
            1,
        )
    except KeyboardInterrupt:
        _leave("Interrupted before the first checkpoint; nothing was lost.", 130)


def _leave(sentence: str, code: int) -> NoReturn:
    print(sentence, file=sys.stderr)
    raise SystemExit(code)
