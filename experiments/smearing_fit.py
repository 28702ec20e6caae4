"""An effective spin Hamiltonian learned from energies, by stacked smearings of spins.

python experiments/smearing_fit.py
python experiments/smearing_fit.py --neighbors 4 --noise 0.1 --out runs/noisy
"""

from dataclasses import dataclass
from functools import partial
from typing import Self

from physml.failures import expected
from physml.hamiltonians import random_smeared_heisenberg
from physml.runs.command_line import run_experiment
from physml.runs.fit import run_fit
from physml.runs.fit_problem import FitConfiguration, FitExperiment, random_key


@dataclass(frozen=True)
class SmearingFitConfiguration(FitConfiguration):
    """Learn E = J sum_i S~_i . (S~_i+1 + S~_i-1), S~ the spins after smearings.

    Energies come from a hidden model of the same kind, in units of energy of your
    choice. Formulas: physml/hamiltonians/smeared_heisenberg.py.
    """

    neighbors: tuple[int, ...] = (2, 3, 2)
    """Neighbors to each side of each smearing of the model, in order."""
    hidden_neighbors: tuple[int, ...] | None = None
    """The same for the hidden model. By default as the model."""
    hidden_coupling: float = 0.7
    """J of the hidden model, in units of energy."""
    hidden_deviation: float = 0.2
    """Standard deviation of the hidden model's coefficients."""
    start_deviation: float = 0.1
    """The same for the model's random starts."""
    quick: bool = False
    """Other defaults, for a short run: one smearing of 2 neighbors, 32 sites, 128
    samples."""

    @classmethod
    def quick_defaults(cls) -> Self:
        """Return the defaults that --quick stands for."""
        return cls(neighbors=(2,), sites=32, samples=128, quick=True)


def make_experiment(configuration: SmearingFitConfiguration) -> FitExperiment:
    """Draw the hidden model."""
    coupling, neighbors = configuration.hidden_coupling, configuration.neighbors
    if not 0 < abs(coupling) < float("inf"):
        raise expected("a hidden coupling other than 0", coupling, "try 0.7")
    hidden_neighbors = configuration.hidden_neighbors
    hidden_neighbors = neighbors if hidden_neighbors is None else hidden_neighbors
    return FitExperiment(
        name="smearing_fit",
        title=f"A model with {_smearings(neighbors)} learns the energies of a hidden "
        f"one with {_smearings(hidden_neighbors)}",
        hidden=random_smeared_heisenberg(
            random_key(configuration.seed, "hidden"),
            hidden_neighbors,
            coupling=coupling,
            deviation=configuration.hidden_deviation,
        ),
        initialize=partial(
            random_smeared_heisenberg,
            neighbors=neighbors,
            deviation=configuration.start_deviation,
        ),
    )


def _smearings(neighbors: tuple[int, ...]) -> str:
    return " + ".join(map(str, neighbors)) + " neighbors" if neighbors else "none"


if __name__ == "__main__":
    run_experiment(
        partial(run_fit, make_experiment=make_experiment),
        SmearingFitConfiguration,
    )
