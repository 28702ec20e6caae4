"""The tests of the contract on 1 to 3 ranks, under MPI and over devices."""

import pytest

SUITE = ("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider")
CONTRACT = ("contract", "derivatives", "blocks")
PROBLEMS = ("problems", "divided_grid", "divided_chains", "least_squares")


def files(*names):
    return [f"tests/parallel/test_{name}.py" for name in names]


# What the problems do is the same for both kinds: one has them on 3 ranks, where a
# ring's two neighbors differ and blocks do, one on 2, where the neighbors are one.
# Devices are the 3: their programs are compiled once, those of ranks on each.
UNDER_MPI = {1: files(*CONTRACT), 2: files(*CONTRACT, *PROBLEMS), 3: files(*CONTRACT)}
OVER_DEVICES = UNDER_MPI | {2: UNDER_MPI[3], 3: UNDER_MPI[2]}


@pytest.mark.slow
@pytest.mark.timeout(450)
@pytest.mark.parametrize("num_ranks", UNDER_MPI)
def test_contract_under_mpi(run_ranks, tmp_path, num_ranks):
    done = run_ranks(
        num_ranks,
        *SUITE,
        *UNDER_MPI[num_ranks],
        timeout=400,
        PHYSML_TEST_COMMUNICATOR="mpi",
        PHYSML_TEST_FOLDER=str(tmp_path),
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(" passed") == num_ranks
    assert "skipped" not in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(450)
@pytest.mark.parametrize("num_ranks", OVER_DEVICES)
def test_contract_over_devices(run_python, num_ranks):
    done = run_python(
        *SUITE,
        *OVER_DEVICES[num_ranks],
        timeout=400,
        PHYSML_TEST_COMMUNICATOR="sharded",
        PHYSML_TEST_DEVICES=str(num_ranks),
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(" passed") == 1
    assert "skipped" not in done.stdout
