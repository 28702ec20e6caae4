"""The sharded communicator over two processes of jax.distributed."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

PROCESS = """
import sys, jax, physml
process, port = int(sys.argv[1]), sys.argv[2]
jax.distributed.initialize(f"localhost:{port}", 2, process)
physml.enable_x64()
import jax.numpy as jnp, numpy as np
from physml.parallel import choose_communicator
from physml.parallel.checks import check_collectives
communicator = choose_communicator("auto")
assert (communicator.name, communicator.size) == ("sharded", 2)
assert (communicator.process, communicator.num_processes) == (process, 2)
assert all(check_collectives(communicator).values())

def loss(slope, block):
    values = communicator.replicate(slope) * block.values
    return communicator.sum(jnp.sum(values, where=block.mask)) ** 2

block = communicator.divide(np.arange(7.0))
gradient = communicator.spmd(jax.grad(loss))(1.0, block)
assert float(gradient) == 2 * 21**2
try:
    communicator.require_agreement({"steps": process})
except ValueError as error:
    print(error)
try:
    choose_communicator("sharded", num_devices=1)
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
def test_two_processes_are_two_ranks(run_python):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    flags = "--xla_force_host_platform_device_count=1"
    with ThreadPoolExecutor(2) as both:
        runs = [
            both.submit(run_python, "-c", PROCESS, str(n), port, XLA_FLAGS=flags)
            for n in range(2)
        ]
    for done in (run.result() for run in runs):
        assert done.returncode == 0, done.stdout
        assert "steps = 0 on rank 0 and 1 on rank 1" in done.stdout
        assert "got 1 of the devices of 2 processes" in done.stdout
