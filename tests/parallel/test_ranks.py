"""The tests of the contract on 1 to 3 ranks, under MPI and over devices."""

import pytest

SUITE = ("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider")
CONTRACT = ("contract", "derivatives", "blocks")
# On 2 ranks both neighbors of a ring are one, on 3 they differ and one has no wall.
PROBLEMS = ("problems", "divided_grid", "divided_chains", "least_squares")
FILES = {
    num_ranks: [
        f"tests/parallel/test_{name}.py"
        for name in CONTRACT + (PROBLEMS if num_ranks > 1 else ())
    ]
    for num_ranks in (1, 2, 3)
}


@pytest.mark.slow
@pytest.mark.timeout(450)
@pytest.mark.parametrize("num_ranks", FILES)
def test_contract_under_mpi(run_ranks, tmp_path, num_ranks):
    done = run_ranks(
        num_ranks,
        *SUITE,
        *FILES[num_ranks],
        timeout=400,
        PHYSML_TEST_COMMUNICATOR="mpi",
        PHYSML_TEST_FOLDER=str(tmp_path),
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(" passed") == num_ranks
    assert "skipped" not in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(450)
@pytest.mark.parametrize("num_ranks", FILES)
def test_contract_over_devices(run_python, num_ranks):
    done = run_python(
        *SUITE,
        *FILES[num_ranks],
        timeout=400,
        PHYSML_TEST_COMMUNICATOR="sharded",
        PHYSML_TEST_DEVICES=str(num_ranks),
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(" passed") == 1
    assert "skipped" not in done.stdout
