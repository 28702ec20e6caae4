"""Choose how a program is divided: by one word, from the command line."""

import contextlib
from typing import Literal

import jax

from physml.failures import expected
from physml.parallel.communicator import Communicator
from physml.parallel.launcher import num_launched
from physml.parallel.mpi import MpiCommunicator
from physml.parallel.serial import SerialCommunicator
from physml.parallel.sharded import ShardedCommunicator
from physml.parallel.threads import limit_threads, require_threads

CommunicatorName = Literal["auto", "serial", "mpi", "sharded"]


def choose_communicator(
    name: CommunicatorName = "auto",
    *,
    num_devices: int | None = None,
    num_threads: int | None = None,
) -> Communicator:
    """Return a communicator by name.

    Parameters
    ----------
    name
        "serial": one rank. "mpi": the processes of `mpirun` or `srun`. "sharded": the
        devices of JAX. "auto": MPI if a launcher started several processes and
        `jax.distributed` has not been started, else sharded if JAX sees several
        devices, else serial.
    num_devices
        For "sharded": how many devices to use, by default all. Before JAX has made its
        first array this also divides the CPU into as many devices.
    num_threads
        Limit the threads of this process, see `limit_threads`; before JAX has made its
        first array.

    Raises
    ------
    ValueError
        Without mpi4jax where it is needed, with too few devices, or on every rank if
        the ranks run different versions.
    physml.failures.RunFailure
        If threads can't be limited, or no longer.
    """
    if num_devices is not None and name != "sharded":
        raise expected("num_devices only with 'sharded'", repr(name), "leave it out")
    if num_threads is not None:
        require_threads(num_threads)
    if name == "auto" and num_launched() > 1 and not jax.distributed.is_initialized():
        name = "mpi"
    if num_threads is not None and name != "mpi":  # before JAX looks for devices
        limit_threads(num_threads)
    if name == "auto":
        name = "sharded" if jax.device_count() > 1 else "serial"
    match name:
        case "serial":
            return SerialCommunicator()
        case "mpi":
            communicator = MpiCommunicator()
            if num_threads is not None:
                limit_threads(num_threads, communicator)
            return communicator
        case "sharded":
            return ShardedCommunicator(_devices(num_devices))
        case _:
            raise expected(
                "'auto', 'serial', 'mpi' or 'sharded'", repr(name), "choose one of them"
            )


def _devices(num_devices: int | None) -> list[jax.Device]:
    if num_devices is None:
        return jax.devices()
    with contextlib.suppress(RuntimeError):  # JAX has started: take what there is
        jax.config.update("jax_num_cpu_devices", num_devices)
    devices = jax.devices()
    if jax.process_count() > 1:
        raise expected(
            "num_devices in one process alone",
            f"{num_devices} of the devices of {jax.process_count()} processes",
            "leave it out: all devices of jax.distributed are used",
        )
    if not 1 <= num_devices <= len(devices):
        raise expected(
            f"from 1 to {len(devices)} devices, which is what JAX has",
            num_devices,
            "choose the communicator before the first array is made",
        )
    return devices[:num_devices]
