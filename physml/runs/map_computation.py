"""A map of local densities of states: its options, and how it is computed and saved.

A map is computed in rounds of rows, of sites or of energies as the method has it. After
each round the rows so far are what a checkpoint holds, so that any number of ranks goes
on from them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import RunFailure, expected
from physml.greens_functions.map_methods import KernelPolynomial, MapMethod, Rows
from physml.greens_functions.map_problem import MapProblem, map_problem
from physml.greens_functions.method_choice import (
    MethodName,
    choose_method,
    num_degrees,
)
from physml.greens_functions.rounds import (
    MapRecord,
    MapSnapshot,
    num_rows,
    rows_in_rounds,
)
from physml.greens_functions.sum_rule import (
    FEWEST_ENERGIES,
    TailQuadrature,
    integrated_density,
    tail_quadrature,
)
from physml.lattices import Lattice
from physml.operators import LinearOperator
from physml.parallel import Communicator
from physml.runs.run import RunConfiguration, Standing
from physml.solvers.spectral_interval import spectral_interval

SHARPEST, BROADEST = 1e-8, 1e3  # broadening, as a share of all energies


@dataclass(frozen=True, kw_only=True)
class MapConfiguration(RunConfiguration):
    """Options of every experiment that makes a map."""

    energies: tuple[float, float, int] = (-2.5, 3.0, 100)
    """Lowest and highest energy in units of energy, and how many, evenly spaced."""
    broadening: float = 0.05
    """eta, the half width at half maximum of a level, in units of energy."""
    sites: tuple[int, ...] | None = None
    """Numbers of the sites that are wanted, counted from 0. By default all."""
    method: MethodName = "auto"
    """recursive: two sweeps over slices; dense: all eigenvectors; krylov: a Lanczos
    process for each site; kernel_polynomial: Chebyshev moments; auto: whichever costs
    least."""
    shown_energies: tuple[float, ...] | None = None
    """Those at which the picture shows the sites, in units of energy. By default a
    quarter, half and three quarters of the way through the map."""
    tolerance: float = 1e-10
    """Relative residual at which an element is done."""
    batch: int | None = None
    """Sites (of direct methods: energies) of one rank between checkpoints. By default
    as many as suit the method."""


@dataclass(frozen=True)
class MapExperiment:
    """An operator on the sites of a lattice, under a name.

    Parameters
    ----------
    name
        Of the experiment, for result.json and the folder.
    title
        A line of text that says what is computed.
    operator
        Hermitian; its first rows belong to the sites.
    lattice
        Of the sites.
    center
        The site around which something happens, such as an impurity.
    center_name
        What that is.
    """

    name: str
    title: str
    operator: LinearOperator
    lattice: Lattice
    center: int
    center_name: str = "impurity"

    @property
    def positions(self) -> np.ndarray:
        """Where the sites are, shape (num_sites, dimension)."""
        positions = self.lattice.positions()
        return positions.reshape(-1, positions.shape[-1])


@dataclass(frozen=True)
class DensityMap:
    """What a run has found; energies in units of energy, the map in their inverse."""

    energies: np.ndarray  # (num_energies,)
    sites: np.ndarray  # (num_sites,), counted from 0
    values: np.ndarray  # (num_energies, num_sites)
    tails: np.ndarray  # outside of the map's energies, (num_sites,)
    method: str
    max_relative_residual: float
    max_iterations: int
    num_failed: int  # elements above the tolerance, those of the tails included

    @property
    def sum_rule_errors(self) -> np.ndarray:
        """Integral over the map's energies, and tails, less 1; shape (num_sites,)."""
        return integrated_density(self.energies, self.values) + self.tails - 1


def _require_in_range(configuration: MapConfiguration) -> None:
    lowest, highest, count = configuration.energies
    if not (-np.inf < lowest < highest < np.inf and count >= FEWEST_ENERGIES):
        raise expected(
            f"a lowest, a higher energy, and {FEWEST_ENERGIES} energies or more",
            configuration.energies,
            "try --energies -2.5 3 100",
        )
    shown = configuration.shown_energies
    if shown is not None and not (shown and np.isfinite(shown).all()):
        raise expected("one finite energy or more to show", shown, "leave it out")
    if configuration.batch is not None and configuration.batch < 1:
        raise expected("a batch of 1 or more", configuration.batch, "leave it out")
    if configuration.time_limit is not None and not configuration.time_limit > 0:
        raise expected("a time limit > 0", configuration.time_limit, "leave it out")


def _require_resolvable(broadening: float, reach: float) -> None:
    """Refuse what float64 can't tell from a line or a constant."""
    low, high = SHARPEST * reach, BROADEST * reach
    if not low <= broadening <= high:
        raise expected(
            f"a broadening from {low:.1e} to {high:.1e}, since levels and energies lie "
            f"up to {reach:.2g} apart",
            broadening,
            "change --broadening or --energies",
        )


def _require_reached(problem: MapProblem, method: MapMethod) -> None:
    """Refuse Chebyshev series that are known beforehand to be too long."""
    if not isinstance(method, KernelPolynomial):
        return
    products = num_degrees(problem, method.interval) // 2  # each makes two moments
    if products > method.max_iterations:
        raise expected(
            f"at most {method.max_iterations} products with H for a site",
            f"{products:.1g}, which Chebyshev moments take at this broadening",
            "raise --broadening or --tolerance, or take another --method",
        )


def map_computation(
    configuration: MapConfiguration,
    experiment: MapExperiment,
    communicator: Communicator,
) -> "MapComputation":
    """Put the energies of the map and of its tails into one problem."""
    _require_in_range(configuration)
    lowest, highest, count = configuration.energies
    num_sites = experiment.lattice.num_sites
    wanted = configuration.sites
    if wanted == () or any(not 0 <= site < num_sites for site in wanted or ()):
        raise expected(f"sites from 0 to {num_sites - 1}", wanted, "count from 0")
    problem = map_problem(
        experiment.operator,
        np.linspace(lowest, highest, count),
        configuration.broadening,
        np.arange(num_sites) if wanted is None else np.array(wanted, int),
        configuration.tolerance,
    )
    center, half_width = map(float, spectral_interval(experiment.operator))
    ends = center - half_width, center + half_width
    reach = max(abs(end - energy) for end in ends for energy in (lowest, highest))
    _require_resolvable(configuration.broadening, reach)
    quadrature = tail_quadrature(lowest, highest, configuration.broadening, reach)
    problem = problem._replace(
        z=jnp.concatenate([problem.z, jnp.asarray(quadrature.z)])
    )
    method = choose_method(configuration.method, problem)
    _require_reached(problem, method)
    return MapComputation(problem, method, quadrature, configuration, communicator)


@dataclass(frozen=True)
class MapComputation:
    """What is computed, and how it is written to records and checkpoints."""

    problem: MapProblem  # z: the map's energies, then those of the tails
    method: MapMethod
    quadrature: TailQuadrature
    configuration: MapConfiguration
    communicator: Communicator

    @property
    def num_steps(self) -> int:
        """The number of rows."""
        return num_rows(self.method, self.problem)

    @property
    def sentence(self) -> str:
        """What a row is, and how many there are."""
        name, num_energies = self.method.name, self.configuration.energies[2]
        if self.method.items == "sites":
            return f"Method {name}, site by site: {self.num_steps}."
        outside = self.num_steps - num_energies
        return (
            f"Method {name}, energy by energy: {num_energies} of the map, {outside} "
            "for what lies outside of it."
        )

    def compute(
        self,
        observer: Callable[[MapSnapshot, MapRecord], bool],
        snapshot: MapSnapshot | None,
    ) -> Rows:
        """Compute all rows, or go on from some of them."""
        limit = self.configuration.time_limit
        end = float("inf") if limit is None else time.monotonic() + limit

        def watch(snapshot: MapSnapshot, record: MapRecord) -> bool:
            observer(snapshot, record)
            is_over = self.communicator.broadcast_object(time.monotonic() > end)
            if is_over and record.num_done < record.num_rows:
                raise RunFailure(
                    f"The time limit of {limit:g} s came after {record.num_done} of "
                    f"{record.num_rows} {self.method.items}; go on with the same "
                    "options, --out and --resume."
                )
            return False

        return rows_in_rounds(
            self.method,
            self.problem,
            self.communicator,
            batch=self.configuration.batch,
            observer=watch,
            snapshot=snapshot,
        )

    def density_map(self, rows: Rows) -> DensityMap:
        """Separate the map and its tails."""
        if self.method.items == "sites":
            rows = jax.tree.map(np.transpose, rows)
        num_energies, green = self.configuration.energies[2], np.asarray(rows.green)
        if not np.isfinite(green).all():
            raise RunFailure(
                "The map has values that are not finite: look for very large numbers "
                "among the options."
            )
        return DensityMap(
            energies=np.asarray(self.problem.z.real[:num_energies]),
            sites=np.asarray(self.problem.sites),
            values=-green.imag[:num_energies] / np.pi,
            tails=self.quadrature.tails(green[num_energies:]),
            method=self.method.name,
            max_relative_residual=float(np.max(rows.relative_residual)),
            max_iterations=int(np.max(rows.num_iterations)),
            num_failed=int(np.sum(~rows.converged)),
        )

    def rows(self, snapshot: MapSnapshot, record: MapRecord) -> list[dict[str, Any]]:
        """Return a line for each round."""
        iterations = int(np.max(snapshot.rows.num_iterations))
        return [
            {
                "rows": record.num_done,
                "residual": record.largest_residual,
                "iterations": iterations,
            }
        ]

    def standing(self, row: dict[str, Any]) -> Standing:
        """Say how many rows there are, and how good they are."""
        count, items = row["rows"], self.method.items
        return Standing(
            f"after {count} of {self.num_steps} {items}",
            count,
            f"{count:5d} {items}  residual {row['residual']:.1e}  "
            f"iterations {row['iterations']}",
        )

    def pack(self, snapshot: MapSnapshot) -> tuple[Any, dict[str, Any]]:
        """Take the rows, and the method that made them."""
        return snapshot.rows, {"rows": snapshot.num_done, "method": self.method.name}

    def template(self, information: dict[str, Any]) -> Any:
        """Return the shapes of what `pack` took."""
        items = jax.ShapeDtypeStruct((information["rows"],), jnp.int64)
        return jax.eval_shape(self.method.rows, self.problem, items)

    def unpack(self, tree: Any, information: dict[str, Any]) -> MapSnapshot:  # noqa: ARG002
        """Return the snapshot again."""
        return MapSnapshot(jax.tree.map(np.asarray, tree))
