"""Levels of the harmonic oscillator by a neural-network wave function on a grid.

python experiments/harmonic_oscillator.py
python experiments/harmonic_oscillator.py --omega 2 --levels 6 --out runs/omega2
"""

from dataclasses import dataclass
from functools import partial

from physml.hamiltonians.potentials import Harmonic
from physml.lattices.grid import Grid
from physml.runs.command_line import run_experiment
from physml.runs.levels import (
    LevelsConfiguration,
    LevelsExperiment,
    require_half_width,
    run_levels,
)


@dataclass(frozen=True)
class HarmonicOscillatorConfiguration(LevelsConfiguration):
    """Levels of V = omega^2 x^2 / 2 by a network that minimizes the energy.

    Units: hbar = m = 1. The exact levels are omega (n + 1/2).
    """

    omega: float = 1.0
    """Frequency, in units of energy."""
    box: float | None = None
    """Half width of the box, in units of length. By default 8 / sqrt(omega)."""


def make_experiment(configuration: HarmonicOscillatorConfiguration) -> LevelsExperiment:
    """Put the oscillator on its grid."""
    potential = Harmonic(configuration.omega)
    half_width = require_half_width(configuration.box, potential.box()[1])
    return LevelsExperiment(
        name="harmonic_oscillator",
        title=f"Harmonic oscillator, omega = {configuration.omega:g}",
        potential=potential,
        grid=Grid.line(-half_width, half_width, configuration.points),
        boundary="gaussian",
    )


if __name__ == "__main__":
    run_experiment(
        partial(run_levels, make_experiment=make_experiment),
        HarmonicOscillatorConfiguration,
    )
