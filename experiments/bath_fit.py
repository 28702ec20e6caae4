"""The bath of a few levels that reproduces a hybridization on Matsubara frequencies.

python experiments/bath_fit.py
python experiments/bath_fit.py --target discrete --hidden-sites 5 --sites 5
python experiments/bath_fit.py --target discrete --orbitals 2 --sites 4
python experiments/bath_fit.py --target delta.npz --beta 40 --sites 7 --symmetric
mpirun -n 2 python experiments/bath_fit.py --starts 200
"""

from dataclasses import dataclass

from physml.runs.bath_fit import run_bath_fit
from physml.runs.bath_fit_problem import BathFitConfiguration
from physml.runs.command_line import run_experiment


@dataclass(frozen=True)
class BathConfiguration(BathFitConfiguration):
    """Fit levels e and couplings V so that sum |V|^2 / (iw - e) is Delta(iw).

    Of several orbitals Delta_ab is sum V_a* V_b / (iw - e). Energies are in a unit of
    your choice; the semicircle has half bandwidth 1 and weight 1. Distances are the
    weighted root mean power of the deviations.
    """

    quick: bool = False
    """Other defaults, for a short run: 3 sites, 4 starts."""


if __name__ == "__main__":
    run_experiment(run_bath_fit, BathConfiguration)
