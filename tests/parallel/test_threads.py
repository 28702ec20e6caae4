"""Cores and threads of a process, and what a launcher says about it."""

import os

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from physml.parallel.launcher import local_rank, num_launched
from physml.parallel.threads import (
    blas_threads,
    choose_cores,
    limit_threads,
    usable_cores,
)

LIMIT = """
import os, sys, jax
from physml.parallel.threads import limit_threads, num_xla_threads
cores = limit_threads(int(sys.argv[1]))
assert num_xla_threads() == 0
jax.block_until_ready(jax.numpy.zeros(1))
print(len(cores), num_xla_threads(), tuple(sorted(os.sched_getaffinity(0))) == cores)
"""

needs_binding = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system cannot bind processes"
)


@needs_binding
def test_xla_starts_as_many_threads_as_asked_for(run_python):
    assert run_python("-c", LIMIT, "1").stdout == "1 1 True\n"


@needs_binding
def test_oversubscription_is_told(run_python):
    count = len(os.sched_getaffinity(0))
    done = run_python("-c", LIMIT, str(count + 1))
    assert (
        f"{count + 1} threads were asked for, but this process may use" in done.stdout
    )
    assert done.stdout.endswith(f"{count} {count} True\n")


@needs_binding
def test_after_jax_has_started_it_is_too_late(run_python):
    code = "import jax; jax.block_until_ready(jax.numpy.zeros(1))" + LIMIT
    done = run_python("-c", code, "1")
    assert "RunFailure: JAX has started its threads" in done.stdout


def test_no_thread_is_refused():
    with pytest.raises(ValueError, match="Expected num_threads >= 1, got 0"):
        limit_threads(0)


def test_ranks_of_a_host_take_different_cores():
    cores = [choose_cores((2, 3, 6, 7), 2, rank) for rank in range(2)]
    assert cores == [(2, 3), (6, 7)]


def test_more_ranks_than_cores_take_turns():
    assert [choose_cores((0, 1), 1, rank) for rank in range(3)] == [(0,), (1,), (0,)]


def test_a_rank_bound_by_its_launcher_keeps_its_cores():
    assert choose_cores((4, 5), 2, turn=1) == (4, 5)


SOCKETS = """
import os
from physml.parallel.threads import limit_threads, usable_cores
class Rank2:  # mpirun bound ranks 0, 2 to one socket and 1, 3 to another
    process = 2
    def gather_objects(self, mine):
        other = (mine[0], (98, 99))
        return [mine, other, mine, other]
before = usable_cores()
print(limit_threads(1, Rank2()) == before[1:2])
"""


@needs_binding
@pytest.mark.skipif(len(usable_cores()) < 2, reason="needs two cores")
def test_ranks_bound_to_sockets_share_out_their_own(run_python):
    done = run_python("-c", SOCKETS, OMPI_COMM_WORLD_LOCAL_RANK="2")
    assert done.stdout == "True\n"


@needs_binding
@pytest.mark.slow
@pytest.mark.parametrize("binding", ["core", "none"])
def test_threads_of_two_ranks(run_ranks, binding):
    code = """
from physml.parallel import choose_communicator
from physml.parallel.threads import num_xla_threads, usable_cores
communicator = choose_communicator("auto", num_threads=1)
assert num_xla_threads() == 0  # MPI has started no thread of JAX
cores = communicator.gather_objects(usable_cores())
assert all(len(mine) == 1 for mine in cores)
if communicator.is_root:
    print(len(set(cores)))
"""
    policy = {"PRTE_MCA_hwloc_default_binding_policy": binding}  # of Open MPI 5
    done = run_ranks(2, "-c", code, **policy)
    assert done.stdout == f"{min(2, len(usable_cores()))}\n"


@pytest.mark.parametrize(
    ("environment", "size", "local"),
    [
        ({}, 1, 0),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "3"}, 4, 3),
        ({"PMI_SIZE": "8", "MPI_LOCALRANKID": "2"}, 8, 2),
        ({"SLURM_STEP_NUM_TASKS": "16", "SLURM_LOCALID": "5"}, 16, 5),
        ({"SLURM_NTASKS": "16"}, 1, 0),  # a job script before srun
    ],
)
def test_launchers_tell_number_and_place(environment, size, local):
    assert num_launched(environment) == size
    assert local_rank(environment) == local


@pytest.mark.parametrize(
    ("given", "limit"), [(1, 1), (None, len(usable_cores()))], ids=["one", "all"]
)
def test_threads_of_blas_within_a_block(given, limit):
    def of_blas():
        pools = threadpool_info()
        return [x["num_threads"] for x in pools if x["user_api"] == "blas"]

    np.linalg.inv(np.eye(2))  # loads the library
    before = of_blas()
    with blas_threads(given):
        assert of_blas() == [limit] * len(before)
    assert of_blas() == before
    assert before
