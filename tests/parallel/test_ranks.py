"""The tests of the contract on 1 to 4 ranks, under MPI and over devices."""

import pytest

SUITE = ("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider")
CONTRACT = [
    f"tests/parallel/test_{name}.py"
    for name in ("contract", "blocks", "problems", "divided_grid", "divided_chains")
]


@pytest.mark.slow
@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
def test_contract_under_mpi(run_ranks, tmp_path_factory, num_ranks):
    folder = tmp_path_factory.getbasetemp().parent  # what is compiled there is shared
    done = run_ranks(
        num_ranks,
        *SUITE,
        *CONTRACT,
        timeout=150,
        PHYSML_TEST_COMMUNICATOR="mpi",
        PHYSML_TEST_FOLDER=str(folder),
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(" passed") == num_ranks
    assert "skipped" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("num_ranks", [1, 2, 3, 4])
def test_contract_over_devices(run_python, num_ranks):
    done = run_python(
        *SUITE,
        *CONTRACT,
        timeout=150,
        PHYSML_TEST_COMMUNICATOR="sharded",
        PHYSML_TEST_DEVICES=str(num_ranks),
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(" passed") == 1
    assert "skipped" not in done.stdout
