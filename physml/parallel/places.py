"""Where each process runs, and what is wrong with that."""

import os
import platform
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax

from physml.parallel.communicator import Communicator
from physml.parallel.threads import num_xla_threads, usable_cores


@dataclass(frozen=True)
class Place:
    """One process and what it may use."""

    process: int
    host: str
    processor: str
    cores: tuple[int, ...]
    num_threads: int
    devices: tuple[str, ...]
    gpus: tuple[str, ...]  # as the host numbers them
    sends_gpu_memory: bool


def all_places(communicator: Communicator) -> list[Place]:
    """Return the places of all processes, in order, on each of them."""
    devices = jax.local_devices()
    place = Place(
        process=communicator.process,
        host=socket.gethostname(),
        processor=processor_name(),
        cores=usable_cores(),
        num_threads=num_xla_threads(),
        devices=tuple(f"{device.platform}:{device.id}" for device in devices),
        gpus=tuple(_gpu_name(d) for d in devices if d.platform == "gpu"),
        sends_gpu_memory=communicator.sends_gpu_memory,
    )
    return communicator.gather_objects(place)


def processor_name() -> str:
    """Return the kind of the processor, as the system names it."""
    table = Path("/proc/cpuinfo")
    text = table.read_text() if table.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return model[1].strip() if model else platform.processor() or platform.machine()


def _gpu_name(device: jax.Device) -> str:
    """Return the name of a GPU on its host; each process numbers its own from 0."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = [name for name in visible.split(",") if name]
    number = device.local_hardware_id or 0
    return names[number] if number < len(names) else str(number)


def warnings_about(places: Sequence[Place]) -> list[str]:
    """Return a sentence with a cure for each fault of a set-up."""
    hosts: dict[str, list[Place]] = {}
    for place in places:
        hosts.setdefault(place.host, []).append(place)
    found = _different_processors(places)
    for host, neighbors in hosts.items():
        found += _shared_cores(host, neighbors) + _shared_gpus(host, neighbors)
    if any(place.gpus and not place.sends_gpu_memory for place in places):
        found.append(
            "MPI gets GPU arrays through host memory: if the MPI library is built for "
            "CUDA, build mpi4jax with CUDA_ROOT and set MPI4JAX_USE_CUDA_MPI=1."
        )
    return found


def _different_processors(places: Sequence[Place]) -> list[str]:
    first = places[0]
    other = next((x for x in places if x.processor != first.processor), None)
    if other is None:
        return []
    return [
        f"Processors differ, {first.processor} on {first.host} and {other.processor} "
        f"on {other.host}: where they round differently ranks may part and wait for "
        "each other; ask for hosts of one kind (Slurm: --constraint)."
    ]


def _shared_cores(host: str, neighbors: Sequence[Place]) -> list[str]:
    cores = {core for place in neighbors for core in place.cores}
    threads = sum(place.num_threads for place in neighbors)
    if threads <= len(cores):
        return []
    return [
        f"{threads} threads share {len(cores)} cores on {host}: bind the ranks "
        "(mpirun --bind-to core --map-by slot:PE=THREADS), start fewer, or limit the "
        "threads of each."
    ]


def _shared_gpus(host: str, neighbors: Sequence[Place]) -> list[str]:
    users: dict[str, list[int]] = {}
    for place in neighbors:
        for gpu in place.gpus:
            users.setdefault(gpu, []).append(place.process)
    return [
        f"Ranks {', '.join(map(str, ranks))} share GPU {gpu} of {host}: give each "
        "its own (srun --gpus-per-task=1, or CUDA_VISIBLE_DEVICES by the local rank)."
        for gpu, ranks in users.items()
        if len(ranks) > 1
    ]
