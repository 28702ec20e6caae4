"""One word chooses the communicator."""

import jax
import jax.numpy as jnp
import pytest

from physml.parallel import ShardedCommunicator, choose_communicator

NAME = """
import jax, sys
from physml.parallel import choose_communicator
print(choose_communicator("auto").name)
"""


def test_alone_auto_is_serial(run_python):
    assert run_python("-c", NAME).stdout == "serial\n"


def test_with_several_devices_auto_is_sharded(run_python):
    flags = "--xla_force_host_platform_device_count=2"
    assert run_python("-c", NAME, XLA_FLAGS=flags).stdout == "sharded\n"


@pytest.mark.slow
def test_with_several_ranks_auto_is_mpi(run_ranks):
    assert run_ranks(2, "-c", NAME).stdout == "mpi\n" * 2


@pytest.mark.slow
def test_with_one_rank_auto_is_serial(run_ranks):
    assert run_ranks(1, "-c", NAME).stdout == "serial\n"


def test_wrong_names_and_numbers_are_refused():
    with pytest.raises(ValueError, match="Expected 'auto', 'serial', 'mpi' or"):
        choose_communicator("many")
    with pytest.raises(ValueError, match="num_devices only with 'sharded'"):
        choose_communicator("serial", num_devices=2)


def test_more_devices_than_jax_has_are_refused():
    jax.block_until_ready(jnp.zeros(1))  # from now on their number is fixed
    with pytest.raises(ValueError, match="Expected from 1 to"):
        choose_communicator("sharded", num_devices=1 + jax.device_count())


def test_sum_outside_of_a_sharded_program_is_refused():
    communicator = ShardedCommunicator()
    with pytest.raises(
        ValueError, match=r"compile the function with communicator.spmd"
    ):
        communicator.sum(1.0)
