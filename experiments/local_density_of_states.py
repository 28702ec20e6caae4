"""Local densities of states of particles that hop on a lattice with an impurity.

python experiments/local_density_of_states.py
mpirun -n 4 python experiments/local_density_of_states.py --lattice square --disorder 2
"""

from dataclasses import dataclass
from functools import partial
from typing import Self

import jax

from physml.hamiltonians import disorder_potential, impurity_potential, tight_binding
from physml.lattices import Ends
from physml.runs.command_line import run_experiment
from physml.runs.lattice_options import LatticeName, central_site, make_lattice
from physml.runs.map_computation import MapConfiguration, MapExperiment
from physml.runs.maps import run_map


@dataclass(frozen=True)
class LocalDensityOfStatesConfiguration(MapConfiguration):
    """Local densities of states rho_i(E) = -Im G_ii(E + i eta) / pi on a lattice.

    By default an open chain of 1000 sites with an impurity on the 500th. Lengths are in
    nearest-neighbor distances, energies in a unit of your choice, rho in its inverse.
    """

    lattice: LatticeName = "chain"
    """chain, ring, square, triangular, honeycomb or cubic."""
    size: tuple[int, ...] | None = None
    """Cells along each direction; one number stands for all. By default 1000 for a
    chain or ring, 40 for square and triangular, 28 for honeycomb, 12 for cubic."""
    boundary: Ends | None = None
    """open or periodic. By default open for a chain, periodic for the others."""
    hopping: float = -1.0
    """Matrix element between nearest neighbors, in units of energy."""
    potential: float = 0.5
    """Of every site, in units of energy."""
    impurity_site: int | None = None
    """Its number, counted from 0. By default that in the middle, 499 of 1000."""
    impurity_strength: float = 3.0
    """Added to the potential of that site, in units of energy."""
    disorder: float = 0.0
    """Width W of random potentials from -W/2 to W/2, in units of energy."""
    flux: float | None = None
    """Of a magnetic field through each plaquette, in flux quanta. By default none."""
    quick: bool = False
    """Other defaults, for a short run: 30 cells along each direction, 60 energies, a
    broadening of 0.1."""

    @classmethod
    def quick_defaults(cls) -> Self:
        """Return the defaults that --quick stands for."""
        return cls(size=(30,), energies=(-2.5, 3.0, 60), broadening=0.1, quick=True)


def make_experiment(configuration: LocalDensityOfStatesConfiguration) -> MapExperiment:
    """Put the particles on their lattice."""
    c = configuration
    lattice, ends = make_lattice(c.lattice, c.size, c.boundary)
    site = central_site(lattice) if c.impurity_site is None else c.impurity_site
    potential = c.potential + impurity_potential(lattice, [site], c.impurity_strength)
    potential += disorder_potential(jax.random.key(c.seed), lattice, c.disorder)
    return MapExperiment(
        name="local_density_of_states",
        title=f"{ends} {c.lattice} of {lattice.num_sites} sites, "
        f"impurity on site {site}",
        operator=tight_binding(
            lattice, hopping=c.hopping, potential=potential, flux=c.flux, boundary=ends
        ),
        lattice=lattice,
        center=site,
    )


if __name__ == "__main__":
    run_experiment(
        partial(run_map, make_experiment=make_experiment),
        LocalDensityOfStatesConfiguration,
    )
