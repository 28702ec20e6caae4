"""Local densities of states of a superconductor on a square lattice with a defect.

python experiments/bogoliubov_de_gennes.py
python experiments/bogoliubov_de_gennes.py --defect vortex --pairing s-wave --gap 0.8
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal, Self

from physml.hamiltonians import (
    Vortex,
    bogoliubov_de_gennes,
    impurity_potential,
    tight_binding,
)
from physml.lattices import square
from physml.runs.command_line import run_experiment
from physml.runs.lattice_options import central_site
from physml.runs.map_computation import MapConfiguration, MapExperiment
from physml.runs.maps import run_map


@dataclass(frozen=True)
class BogoliubovDeGennesConfiguration(MapConfiguration):
    """Electrons' local density of states near an impurity or a vortex.

    Open square lattice, hopping -1: energies are in units of the hopping, lengths in
    lattice constants. The gap is 2 gap (cos kx - cos ky) for d-wave, gap for s-wave.
    """

    size: tuple[int, int] = (30, 30)
    """Sites along x and y."""
    pairing: Literal["d-wave", "s-wave"] = "d-wave"
    """Pairs on the bonds, + along x and - along y, or on the sites."""
    gap: float = 0.2
    """Of each bond or site, in units of energy."""
    chemical_potential: float = 0.0
    """In units of energy; at 0 the band is half filled."""
    defect: Literal["impurity", "vortex"] = "impurity"
    """On the site, or between the sites, in the middle."""
    impurity_strength: float = 100.0
    """Potential of the impurity, in units of energy."""
    core_radius: float = 2.0
    """Of the vortex, in lattice constants."""
    quick: bool = False
    """Other defaults, for a short run: 14 x 14 sites, 61 energies, a broadening of
    0.1."""
    energies: tuple[float, float, int] = (-1.5, 1.5, 121)
    shown_energies: tuple[float, ...] | None = (0.0, 0.3, 0.8)

    @classmethod
    def quick_defaults(cls) -> Self:
        """Return the defaults that --quick stands for."""
        return cls(size=(14, 14), energies=(-1.5, 1.5, 61), broadening=0.1, quick=True)


def make_experiment(configuration: BogoliubovDeGennesConfiguration) -> MapExperiment:
    """Put the superconductor on its lattice."""
    c = configuration
    lattice = square(*c.size)
    site, is_vortex = central_site(lattice), c.defect == "vortex"
    strength = 0.0 if is_vortex else c.impurity_strength
    potential = impurity_potential(lattice, [site], strength)
    middle = tuple((n - 1) // 2 + 0.5 for n in c.size)  # of four sites
    operator = bogoliubov_de_gennes(
        tight_binding(lattice, potential=potential, boundary="open"),
        chemical_potential=c.chemical_potential,
        s_wave=c.gap if c.pairing == "s-wave" else 0.0,
        d_wave=c.gap if c.pairing == "d-wave" else None,
        vortex=Vortex(middle, core_radius=c.core_radius) if is_vortex else None,
    )
    title = f"{c.pairing} superconductor, gap {c.gap:g}, {c.defect} in the middle"
    name = "bogoliubov_de_gennes"
    return MapExperiment(name, title, operator, lattice, site, c.defect)


if __name__ == "__main__":
    run_experiment(
        partial(run_map, make_experiment=make_experiment),
        BogoliubovDeGennesConfiguration,
    )
