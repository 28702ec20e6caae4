"""Self-learning Monte Carlo of classical spins that are coupled to electrons.

python experiments/self_learning_monte_carlo.py
python experiments/self_learning_monte_carlo.py --layers 4 --kind convolution
mpirun -n 2 python experiments/self_learning_monte_carlo.py --size 8
"""

from dataclasses import dataclass
from typing import Self

from physml.runs.command_line import run_experiment
from physml.runs.self_learning import SelfLearningConfiguration, run_self_learning


@dataclass(frozen=True)
class SelfLearningMonteCarloConfiguration(SelfLearningConfiguration):
    """Learn an effective spin model, propose with it, accept with the exact one.

    Exact: H = -t sum (c+c + h.c.) + (J/2) sum_i S_i.sigma_i - mu N with unit spins on a
    periodic lattice, and the free energy F of the electrons. Energies and temperatures
    are in one unit, that of t. Formulas: physml/hamiltonians/double_exchange.py.
    """

    quick: bool = False
    """Other defaults, for a short run: 4 x 4 sites, 1 layer, 400 samples, 2 starts,
    no second round of training."""

    @classmethod
    def quick_defaults(cls) -> Self:
        """Return the defaults that --quick stands for."""
        return cls(
            size=(4,),
            layers=1,
            layer_shells=3,
            starts=2,
            training_steps=10,
            training_samples=400,
            test_samples=100,
            own_samples=0,
            interval=2,
            burn_in=20,
            chains=4,
            sweeps=200,
            proposals=200,
            quick=True,
        )


if __name__ == "__main__":
    run_experiment(run_self_learning, SelfLearningMonteCarloConfiguration)
