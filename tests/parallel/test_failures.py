"""A rank that fails ends the job, soon and with its reason."""

import time

import pytest

SECONDS_TO_END = 10.0

START = """
import os, signal, sys, time
import physml
from physml.parallel import choose_communicator
communicator = choose_communicator("mpi")
is_ill = communicator.process == 1
def fall_ill():
    print("failed at", time.time(), flush=True)
"""
AUTO_START = START.replace('"mpi"', '"auto"')
# the others wait for the ill one in a compiled program
WAIT = "\nprint(communicator.spmd(lambda: communicator.sum(1.0))())"


def seconds_since_failure(output):
    (line,) = [line for line in output.splitlines() if line.startswith("failed at")]
    return time.time() - float(line.split()[-1])


@pytest.mark.slow
def test_exception_ends_all_ranks_with_its_traceback(run_ranks):
    code = START + "if is_ill:\n    fall_ill()\n    raise KeyError('ill')" + WAIT
    done = run_ranks(3, "-c", code)
    assert seconds_since_failure(done.stdout) < SECONDS_TO_END
    assert done.returncode != 0
    assert "Rank 1 of 3 failed:\nTraceback" in done.stdout
    assert "KeyError: 'ill'" in done.stdout


@pytest.mark.slow
def test_killed_rank_ends_all_ranks(run_ranks):
    kill = "if is_ill:\n    fall_ill()\n    os.kill(os.getpid(), signal.SIGKILL)"
    done = run_ranks(2, "-c", START + kill + WAIT)
    assert seconds_since_failure(done.stdout) < SECONDS_TO_END
    assert done.returncode != 0


@pytest.mark.slow
def test_rank_that_leaves_alone_ends_all_ranks(run_ranks):
    code = START + "if is_ill:\n    fall_ill()\n    communicator.leave(2)" + WAIT
    done = run_ranks(2, "-c", code)
    assert seconds_since_failure(done.stdout) < SECONDS_TO_END
    assert done.returncode == 2


@pytest.mark.slow
def test_rank_that_exits_alone_ends_all_ranks_under_mpi4py(run_ranks, tmp_path):
    program = tmp_path / "program.py"
    code = START + "if is_ill:\n    fall_ill()\n    sys.exit('no more')" + WAIT
    program.write_text(code)
    done = run_ranks(2, "-m", "mpi4py", str(program))
    assert seconds_since_failure(done.stdout) < SECONDS_TO_END
    assert done.returncode != 0
    assert "no more" in done.stdout


@pytest.mark.slow
def test_ranks_that_leave_together_are_not_aborted(run_ranks):
    done = run_ranks(2, "-c", START + "communicator.leave(2)")
    assert done.returncode == 2
    assert "MPI_ABORT" not in done.stdout


@pytest.mark.slow
def test_rank_with_other_versions_or_precision_is_told(run_ranks):
    other = """
import jax
from physml.parallel.launcher import local_rank
jax.config.update('jax_enable_x64', local_rank() == 1)
"""
    done = run_ranks(2, "-c", other + START + WAIT)
    assert done.returncode != 0
    assert "float64 = False on rank 0 and True on rank 1: start all" in done.stdout


def test_mpi_without_mpi4jax_says_how_to_install_it(run_python):
    code = "import sys; sys.modules['mpi4jax'] = None" + START
    done = run_python("-c", code)
    assert "Expected mpi4py and mpi4jax for MPI, got" in done.stdout
    assert "pip install --no-build-isolation mpi4jax" in done.stdout


def test_launched_ranks_never_run_alone_by_accident(run_python):
    code = "import sys; sys.modules['mpi4jax'] = None" + AUTO_START
    done = run_python("-c", code, OMPI_COMM_WORLD_SIZE="2")
    assert done.returncode != 0
    assert "pip install --no-build-isolation mpi4jax" in done.stdout


@pytest.mark.slow
def test_launcher_of_another_mpi_is_told(launcher, run_python):
    del launcher  # skips without mpi4jax
    done = run_python("-c", AUTO_START, SLURM_STEP_NUM_TASKS="3", SLURM_PROCID="0")
    assert done.returncode != 0
    assert "Expected an MPI of 3 ranks, as many as were launched" in done.stdout


def test_import_starts_no_mpi(run_python):
    code = (
        "import physml.parallel as p, sys; p.choose_communicator('serial');"
        "assert not {'mpi4py', 'mpi4jax'} & set(sys.modules)"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stdout
    assert done.stdout == ""
