"""Levels of a one-dimensional potential by a neural-network wave function on a grid.

python experiments/potential_levels.py --potential double-well
python experiments/potential_levels.py --potential morse --parameters dissociation 9
"""

from dataclasses import asdict, dataclass, field
from functools import partial

from physml.hamiltonians.potentials import default_grid, make_potential
from physml.runs.command_line import run_experiment
from physml.runs.levels import LevelsConfiguration, LevelsExperiment, run_levels

DECAY_LIKE_GAUSSIANS = ("harmonic", "double-well")
STEEP_NEAR_THE_WALL = ("radial-hydrogen",)


@dataclass(frozen=True)
class PotentialLevelsConfiguration(LevelsConfiguration):
    """Levels of a potential by a network that minimizes the energy.

    Units: hbar = m = 1. Potentials and their parameters are described in
    physml/hamiltonians/potentials.py.
    """

    potential: str = "double-well"
    """harmonic, double-well, poschl-teller, morse, linear, finite-well, infinite-well
    or radial-hydrogen."""
    parameters: dict[str, float] = field(default_factory=dict)
    """Parameters of the potential that are not the defaults, as in separation 2."""


def make_experiment(configuration: PotentialLevelsConfiguration) -> LevelsExperiment:
    """Put the potential on its own grid."""
    name = configuration.potential
    potential = make_potential(name, **configuration.parameters)
    values = asdict(potential)
    return LevelsExperiment(
        name="potential_levels",
        title=f"{name}: {', '.join(f'{k} = {v:g}' for k, v in values.items())}",
        potential=potential,
        grid=default_grid(potential, configuration.points),
        boundary="gaussian" if name in DECAY_LIKE_GAUSSIANS else "dirichlet",
        coordinate="square-root" if name in STEEP_NEAR_THE_WALL else "linear",
    )


if __name__ == "__main__":
    run_experiment(
        partial(run_levels, make_experiment=make_experiment),
        PotentialLevelsConfiguration,
    )
