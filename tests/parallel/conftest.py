"""Start tests on several ranks; the first rank that fails ends all of them."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from physml.parallel import Communicator, choose_communicator, limit_threads
from physml.parallel.launcher import launched_rank, num_launched

KIND = os.environ.get("PHYSML_TEST_COMMUNICATOR", "serial")
NUM_DEVICES = os.environ.get("PHYSML_TEST_DEVICES")
REPOSITORY = Path(__file__).parents[2]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give each rank its own folder: in one they clean up behind each other's back."""
    folder = os.environ.get("PHYSML_TEST_FOLDER")
    if KIND == "mpi" and folder is not None:
        config.option.basetemp = (
            Path(folder) / f"rank-{launched_rank()}-of-{num_launched()}"
        )


@pytest.fixture(scope="session")
def communicator() -> Communicator:
    """Choose that of this process: serial, unless test_ranks.py started it."""
    if KIND == "mpi":
        limit_threads(1)  # ranks that share cores wait for each other
    num_devices = None if NUM_DEVICES is None else int(NUM_DEVICES)
    return choose_communicator(KIND, num_devices=num_devices)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show a failure under MPI and end all ranks: the others wait in a collective."""
    report = yield
    if KIND == "mpi" and report.failed:
        print(f"{item.nodeid} failed:\n{report.longreprtext}", file=sys.stderr)
        sys.stderr.flush()
        from mpi4py import MPI

        MPI.COMM_WORLD.Abort(1)
    return report


def _run(command: list[str], timeout: float, **environment: str):
    """Run a command and its children with a time limit that is a failure."""
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        pytest.fail(f"{command} hung for {timeout} s:\n{output}")
    return subprocess.CompletedProcess(command, process.returncode, output)


# Open MPI 5 and 4: as root in a container, more ranks than cores. A rank that waits
# sleeps: else it would keep its core from those it waits for.
AS_ROOT_AND_OVERSUBSCRIBED = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_MCA_threads_pthreads_yield_strategy": "nanosleep",
    "OMPI_MCA_threads_pthreads_nanosleep_time": "10000",
}


@pytest.fixture
def launcher() -> str:
    """Return the path of mpirun; skip, or fail in CI, where there is no mpi4jax."""
    if importlib.util.find_spec("mpi4jax") is None:
        reason = (
            "mpi4jax is not installed: run `uv run --extra test --extra mpi pytest`"
        )
        if os.environ.get("PHYSML_REQUIRE_MPI"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(sys.executable).parent
    path = shutil.which("mpirun", path=f"{folder}{os.pathsep}{os.environ['PATH']}")
    assert path is not None
    return path


@pytest.fixture
def run_ranks(launcher) -> Run:
    """Return a function that runs Python on a number of ranks with mpirun."""

    def run(
        num_ranks: int, *arguments: str, timeout: float = 120.0, **environment: str
    ):
        command = [launcher, "-np", str(num_ranks), sys.executable, *arguments]
        return _run(command, timeout, **AS_ROOT_AND_OVERSUBSCRIBED, **environment)

    return run


@pytest.fixture
def start_ranks(launcher) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return a function that starts Python on ranks; what still runs is killed."""
    started = []

    def start(num_ranks: int, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [launcher, "-np", str(num_ranks), sys.executable, *arguments],
            cwd=REPOSITORY,
            env=os.environ | AS_ROOT_AND_OVERSUBSCRIBED,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def run_python() -> Run:
    """Return a function that runs Python in one process, with a time limit."""

    def run(*arguments: str, timeout: float = 120.0, **environment: str):
        return _run([sys.executable, *arguments], timeout, **environment)

    return run
