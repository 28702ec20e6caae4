"""Levels of a particle on a disc with a hard wall, in Bessel functions.

python experiments/quantum_disk.py
python experiments/quantum_disk.py --potential free --flux 0.5
python experiments/quantum_disk.py --potential ring --angular-momenta -2 -1 0 1 2
"""

from dataclasses import dataclass

from physml.runs.command_line import run_experiment
from physml.runs.quantum_disk import run_quantum_disk
from physml.runs.quantum_disk_problem import QuantumDiskConfiguration


@dataclass(frozen=True)
class DiskConfiguration(QuantumDiskConfiguration):
    """Find the lowest levels of each angular momentum m, and densities in the plane.

    Units: hbar = m = 1, lengths in a unit of your choice. A flux through the center
    makes the order of the Bessel functions |m - flux|. By default the harmonic disc,
    omega = 4 in R = 1, whose exact levels are known; so are those without potential.
    """

    quick: bool = False
    """Other defaults, for a short run: 20 functions, 2 levels."""


if __name__ == "__main__":
    run_experiment(run_quantum_disk, DiskConfiguration)
