"""The report of the machine, and its warnings about wrong set-ups."""

import pytest

from physml.parallel.places import Place, processor_name, warnings_about


def place(
    process,
    *,
    host="a",
    processor="EPYC",
    cores=(0,),
    num_threads=1,
    gpus=(),
    sends=True,
):
    return Place(process, host, processor, cores, num_threads, (), gpus, sends)


def test_a_good_set_up_gives_no_warning():
    ranks = [
        place(0, cores=(0, 1), num_threads=2),
        place(1, cores=(2, 3), num_threads=2),
    ]
    elsewhere = place(2, host="b", cores=(0, 1), num_threads=2)
    assert warnings_about([*ranks, elsewhere]) == []


def test_more_threads_than_cores_are_told():
    ranks = [place(n, cores=(0, 1), num_threads=2) for n in range(2)]
    (sentence,) = warnings_about(ranks)
    assert sentence.startswith("4 threads share 2 cores on a: bind the ranks")


def test_two_ranks_on_one_gpu_are_told():
    ranks = [place(n, cores=(n,), gpus=(gpu,)) for n, gpu in enumerate("010")]
    (sentence,) = warnings_about(ranks)
    assert sentence.startswith("Ranks 0, 2 share GPU 0 of a")


def test_gpus_of_two_hosts_are_two_gpus():
    assert (
        warnings_about([place(0, gpus=("0",)), place(1, host="b", gpus=("0",))]) == []
    )


def test_gpu_arrays_through_the_host_are_told():
    (sentence,) = warnings_about([place(0, gpus=("0",), sends=False)])
    assert "MPI4JAX_USE_CUDA_MPI=1" in sentence


def test_hosts_with_different_processors_are_told():
    ranks = [
        place(0),
        place(1, cores=(1,)),
        place(2, host="b"),
        place(3, host="c", processor="Xeon"),
    ]
    (sentence,) = warnings_about(ranks)
    assert sentence.startswith("Processors differ, EPYC on a and Xeon on c:")


def test_processor_has_a_name_and_always_the_same():
    assert processor_name()
    assert processor_name() == processor_name()


@pytest.mark.slow
def test_report_under_mpi(run_ranks):
    done = run_ranks(2, "-m", "physml.parallel", "--quick", "--threads", "1")
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("2 ranks, mpi: ")
    assert done.stdout.count(" right\n") == 11  # by one rank only
    assert "WRONG" not in done.stdout
    assert "1,000 float64" in done.stdout


def test_report_over_devices(run_python):
    options = ("--quick", "--communicator", "sharded", "--devices", "2")
    done = run_python("-m", "physml.parallel", *options)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("2 ranks, sharded: XLA")
    assert done.stdout.count(" right\n") == 11


def test_report_refuses_what_cannot_be(run_python):
    done = run_python("-m", "physml.parallel", "--devices", "2")
    assert done.returncode == 2
    assert "Expected num_devices only with 'sharded', got 'auto'" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--devices", "2"), ("--no-such-option",)])
def test_report_refuses_once_under_mpi(run_ranks, options):
    done = run_ranks(2, "-m", "physml.parallel", *options)
    assert done.returncode == 2
    assert done.stdout.count("error:") == 1, done.stdout
