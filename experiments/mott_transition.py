"""The Mott transition: dynamical mean-field theory on the Bethe lattice.

python experiments/mott_transition.py
python experiments/mott_transition.py --sites 5 --interactions 1 2 2.5 3
"""

from dataclasses import dataclass

from physml.runs.command_line import run_experiment
from physml.runs.mott_transition import run_mott_transition
from physml.runs.mott_transition_problem import MottTransitionConfiguration


@dataclass(frozen=True)
class MottConfiguration(MottTransitionConfiguration):
    """Follow the half-filled Hubbard model from the metal and from the insulator.

    Each mean field is an impurity in a bath of a few sites, diagonalized exactly at
    T = 0, that makes its own hybridization again: Delta = D^2 G / 4. Energies are in a
    unit of your choice, by default the half bandwidth D.
    """

    quick: bool = False
    """Other defaults, for a short run: 3 sites, 4 interactions, beta = 100."""


if __name__ == "__main__":
    run_experiment(run_mott_transition, MottConfiguration)
