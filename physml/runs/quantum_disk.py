"""Find the levels of a particle on a disc, end to end: result, table, pictures."""

import time
from typing import Any

import numpy as np

from physml.parallel import SERIAL, Communicator
from physml.precision import enable_x64
from physml.runs.quantum_disk_problem import (
    DiskLevels,
    QuantumDiskConfiguration,
    QuantumDiskProblem,
    quantum_disk_problem,
)
from physml.runs.ranks import say_on_root
from physml.runs.run import Run, open_run


def run_quantum_disk(
    configuration: QuantumDiskConfiguration, communicator: Communicator = SERIAL
) -> DiskLevels:
    """Diagonalize, and write result, records, pictures and checkpoint.

    Parameters
    ----------
    configuration
        The options.
    communicator
        All ranks do the same work; the root alone writes.

    Returns
    -------
    The lowest levels of each angular momentum.

    Raises
    ------
    ValueError
        If an option is out of its range; nothing is written then.
    """
    started = time.monotonic()
    enable_x64()
    problem = quantum_disk_problem(configuration)
    c = configuration
    say_on_root(
        communicator,
        f"Disc of radius {c.radius:g}, {c.potential} potential, flux {c.flux:g}: "
        f"{c.levels} levels of each of {len(c.angular_momenta)} angular momenta in "
        f"{c.basis} Bessel functions",
    )
    run = open_run(
        "quantum_disk",
        configuration,
        problem,
        started=started,
        communicator=communicator,
    )
    done = run.perform(problem.compute)
    if communicator.is_root:
        _report(run, problem, done)
    return done


def _report(run: Run, problem: QuantumDiskProblem, done: DiskLevels) -> None:
    """Write the result and the pictures, print the table."""
    # half a second of import time that the first line need not wait for
    from physml.runs.quantum_disk_pictures import draw_densities, draw_disk_levels

    entries = _entries(problem, np.asarray(done.states.energies))
    print(_table(entries))
    quadrature_error = float(done.quadrature_error)
    change = float(np.abs(done.changes).max())
    errors = [
        abs(entry["energy"] - entry["exact_energy"])
        for entry in entries
        if entry["exact_energy"] is not None
    ]
    print(
        f"Errors of integrals move no level by more than {quadrature_error:.1e}; half "
        f"the basis moves them by up to {change:.1e}."
    )
    folder = run.folder.path
    draw_densities(folder / "densities.png", problem, done.states)
    draw_disk_levels(folder / "levels.png", problem, done.states)
    run.finish(
        {
            "levels": entries,
            "max_error": max(errors, default=None),
            "quadrature_error": quadrature_error,
            "change_from_half_the_basis": change,
        }
    )


def _entries(problem: QuantumDiskProblem, energies: np.ndarray) -> list[dict[str, Any]]:
    """Return all levels for result.json."""
    disk, entries = problem.disk, []
    num_levels = energies.shape[1]
    for m, order, row in zip(
        disk.angular_momenta, disk.basis.orders, energies, strict=True
    ):
        exact = problem.potential.exact_levels(order, disk.basis.radius, num_levels)
        for n, energy in enumerate(row):
            entries.append(
                {
                    "angular_momentum": m,
                    "radial_number": n,
                    "energy": float(energy),
                    "exact_energy": None if exact is None else float(exact[n]),
                }
            )
    return entries


def _table(entries: list[dict[str, Any]]) -> str:
    lines = ["  m   n               energy   - exact"]
    for entry in entries:
        exact = entry["exact_energy"]
        error = "" if exact is None else f"{entry['energy'] - exact:+.1e}"
        lines.append(
            f"{entry['angular_momentum']:3d} {entry['radial_number']:3d} "
            f"{entry['energy']:20.13g}  {error}"
        )
    return "\n".join(lines)
