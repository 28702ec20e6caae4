"""What a user runs first on a new machine: who is where, is it right, is it fast."""

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from physml.failures import RunFailure
from physml.parallel.agreement import installation
from physml.parallel.checks import check_collectives
from physml.parallel.choice import CommunicatorName, choose_communicator
from physml.parallel.communicator import Communicator
from physml.parallel.meeting import one_speaks
from physml.parallel.places import all_places, warnings_about
from physml.precision import enable_x64

Transfers = Literal["sum", "shift"]

_REPEATS = {1: 1000, 1_000: 1000, 10_000: 300, 100_000: 100, 1_000_000: 20}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report on the root process; return 1 if a collective is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m physml.parallel",
        description="Who is where, is every collective right, how fast is a sum.",
    )
    names = get_args(CommunicatorName)
    parser.add_argument("--communicator", choices=names, default="auto")
    parser.add_argument("--devices", type=int, help="ranks of 'sharded' (default: all)")
    parser.add_argument("--threads", type=int, help="threads of each process")
    parser.add_argument(
        "--quick", action="store_true", help="fewer, smaller reductions"
    )
    enable_x64()
    with one_speaks():
        options = parser.parse_args(arguments)
        try:
            communicator = choose_communicator(
                options.communicator,
                num_devices=options.devices,
                num_threads=options.threads,
            )
        except (ValueError, RunFailure) as failure:
            parser.error(str(failure))
    return report(communicator, is_quick=options.quick)


def report(communicator: Communicator, *, is_quick: bool) -> int:
    """Describe, test and time a communicator."""
    say = print if communicator.is_root else _keep_quiet
    ranks = "1 rank" if communicator.size == 1 else f"{communicator.size} ranks"
    say(f"{ranks}, {communicator.name}: {communicator.library}")
    say(", ".join(f"{name} {value}" for name, value in installation().items()), "\n")
    jax.block_until_ready(jnp.zeros(1))  # starts the threads
    places = all_places(communicator)
    say(f"{'process':>8}  {'threads':>8}  {'cores':<12}{'devices':<16}host")
    for place in places:
        cores, devices = _shorten(place.cores), _shorten(place.devices)
        counts = f"{place.process:>8}  {place.num_threads:>8}"
        say(f"{counts}  {cores:<12}{devices:<16}{place.host}")
    results = check_collectives(communicator)
    say()
    for name, is_right in results.items():
        say(f"{name:<20} {'right' if is_right else 'WRONG'}")
    for kind in get_args(Transfers):
        say(f"\n{kind + ' of':>16} {'median':>12} {'fastest':>12} {'bandwidth':>14}")
        for num_values, repeats in _REPEATS.items():
            if not is_quick or num_values <= 1000:
                repeats = 20 if is_quick else repeats
                times = time_transfers(communicator, kind, num_values, repeats)
                say(_timing_row(num_values, times))
    for sentence in warnings_about(places):
        say("\nWarning:", sentence)
    return 0 if all(results.values()) else 1


def time_transfers(
    communicator: Communicator,
    kind: Transfers,
    num_values: int,
    repeats: int,
    num_samples: int = 5,
) -> list[float]:
    """Return the seconds of one sum or shift of float64 values, in compiled loops."""

    def transfer(_: jax.Array, values: jax.Array) -> jax.Array:
        if kind == "sum":
            return communicator.sum(values) / communicator.size
        return communicator.shift(values, 1)

    program = communicator.spmd(
        lambda values: jax.lax.fori_loop(0, repeats, transfer, values)
    )
    values = jax.block_until_ready(program(jnp.ones(num_values)))
    seconds = []
    for _ in range(num_samples):
        communicator.barrier()
        start = time.perf_counter()
        values = jax.block_until_ready(program(values))
        seconds.append((time.perf_counter() - start) / repeats)
    return seconds


def _timing_row(num_values: int, seconds: Sequence[float]) -> str:
    median = statistics.median(seconds)
    bandwidth = 8 * num_values / median / 1e6
    return (
        f"{num_values:>9,} float64 {1e6 * median:>9.1f} us "
        f"{1e6 * min(seconds):>9.1f} us {bandwidth:>9.1f} MB/s"
    )


def _shorten(names: Sequence[object], limit: int = 4) -> str:
    shown = [str(name) for name in names[:limit]]
    return ",".join(shown) + (",..." if len(names) > limit else "")


def _keep_quiet(*_: object) -> None:
    pass
