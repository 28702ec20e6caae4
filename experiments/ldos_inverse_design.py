"""The impurities that make a given map of local densities of states.

python experiments/ldos_inverse_design.py
python experiments/ldos_inverse_design.py --lattice square --size 8 --impurities 8
python experiments/ldos_inverse_design.py --first-broadening 0.1  # where that fails
"""

from dataclasses import dataclass
from typing import Self

from physml.runs.command_line import run_experiment
from physml.runs.inverse_design import run_inverse_design
from physml.runs.inverse_design_problem import InverseDesignConfiguration


@dataclass(frozen=True)
class LdosInverseDesignConfiguration(InverseDesignConfiguration):
    """Find hidden on-site potentials from rho_i(E) = -Im G_ii(E + i eta) / pi.

    The potentials of all sites are looked for, from random ones, by the gradient of the
    map with respect to them. Energies are in units of the hopping.
    """

    quick: bool = False
    """Other defaults, for a short run: 10 sites, 2 impurities, 41 energies, a
    broadening of 0.4."""

    @classmethod
    def quick_defaults(cls) -> Self:
        """Return the defaults that --quick stands for."""
        return cls(
            size=10,
            impurities=2,
            energies=41,
            broadening=0.4,
            first_broadening=0.8,
            steps=600,
            quick=True,
        )


if __name__ == "__main__":
    run_experiment(run_inverse_design, LdosInverseDesignConfiguration)
