"""The Mott transition on the Bethe lattice as the tasks of a run."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from physml.dynamical_mean_field import (
    BetheLattice,
    MeanField,
    insulating_start,
    iterate,
    matsubara_frequencies,
    metallic_start,
    spectral_function,
)
from physml.failures import expected
from physml.runs.run import RunConfiguration
from physml.runs.tasks import Observe, Results

MAX_SITES = 9
PIECE = 10  # iterations from one line of the records to the next
NUM_ENERGIES = 401
NO_FIT = 0.9  # of Delta: without a bath the largest error is 1
HALF_WIDTH = 3.0  # of the spectra, in units of D

Branch = Literal["metal", "insulator"]
BRANCHES: tuple[Branch, ...] = ("metal", "insulator")


@dataclass(frozen=True, kw_only=True)
class MottTransitionConfiguration(RunConfiguration):
    """Options of the half-filled Hubbard model on the Bethe lattice; T = 0."""

    interactions: tuple[float, ...] = tuple(
        round(0.1 * n, 1) for n in (0, 5, 10, 15, 20, *range(22, 33))
    )
    """U, in units of energy, in any order: the metal is followed upwards, the insulator
    downwards."""
    half_bandwidth: float = 1.0
    """D, in units of energy."""
    sites: int = 7
    """Of the metal's bath, odd, from 3 to 9; the insulator's has no level at zero, and
    one site less."""
    beta: float = 200.0
    """Of the Matsubara frequencies on which the bath is fitted, 1 / energy. The first,
    pi / beta, is the resolution: a metal is one with Z D above it."""
    frequencies: int = 256
    """How many."""
    mixing: float = 0.7
    """The part of the new hybridization that each iteration takes."""
    tolerance: float = 1e-6
    """Of the largest change of the hybridization, in units of energy."""
    max_iterations: int = 300
    """For each U of each branch."""
    broadening: float = 0.05
    """Of the spectra, in units of energy."""

    @classmethod
    def quick_defaults(cls) -> Self:
        """Return the defaults that --quick stands for."""
        return cls(
            interactions=(1.0, 2.0, 2.6, 3.2),
            sites=3,
            beta=100.0,  # three sites fail for larger ones
            frequencies=128,
            quick=True,
        )


class BranchPoint(NamedTuple):
    """The mean field of one U on one branch, and its spectrum."""

    mean_field: MeanField
    spectrum: jax.Array  # at `spectrum_energies`


@dataclass(frozen=True)
class MottTransitionProblem:
    """The options, checked."""

    configuration: MottTransitionConfiguration

    def lattice(self, interaction: float) -> BetheLattice:
        """Return the model with U."""
        c = self.configuration
        omega = jnp.asarray(matsubara_frequencies(c.beta, c.frequencies))
        u, d = jnp.asarray(interaction, omega.dtype), c.half_bandwidth
        return BetheLattice(u, omega, jnp.asarray(d, omega.dtype))

    def spectrum_energies(self) -> np.ndarray:
        """Return where the spectra are computed."""
        half_width = HALF_WIDTH * self.configuration.half_bandwidth
        return np.linspace(-half_width, half_width, NUM_ENERGIES)

    def interactions(self, branch: Branch) -> list[float]:
        """Return U in the order of the branch; there is no insulator of U = 0."""
        ascending = sorted(self.configuration.interactions)
        if branch == "metal":
            return ascending
        return [u for u in ascending[::-1] if u > 0]

    def start(self, branch: Branch, interaction: float) -> MeanField:
        """Return where a branch begins."""
        lattice, sites = self.lattice(interaction), self.configuration.sites
        if branch == "metal":
            return metallic_start(lattice, sites)
        return insulating_start(lattice, sites - 1)

    def tasks(self) -> tuple["Iteration", ...]:
        """Return an iteration for each U of each branch, in order."""
        return tuple(self._tasks())

    def _tasks(self) -> Iterator["Iteration"]:
        for branch in BRANCHES:
            before = None
            for interaction in self.interactions(branch):
                task = Iteration(self, branch, interaction, before)
                before = task.name
                yield task


@dataclass(frozen=True)
class Iteration:
    """The mean-field iteration of one U as a `physml.runs.tasks.Task`."""

    problem: MottTransitionProblem
    branch: Branch
    interaction: float
    before: str | None  # the task whose mean field is the start

    @property
    def name(self) -> str:
        """Branch and U."""
        return f"{self.branch}, U = {self.interaction:g}"

    @property
    def num_steps(self) -> int:
        """The most iterations."""
        return self.problem.configuration.max_iterations

    def perform(self, results: Results, observe: Observe, state: Any) -> BranchPoint:
        """Iterate in pieces, then make the spectrum."""
        lattice = self.problem.lattice(self.interaction)
        state = self._start(results) if state is None else state
        while self._goes_on(state):
            state = self._piece(lattice, state)
            observe(state, [self._row(lattice, state)])
        c = self.problem.configuration
        energies = jnp.asarray(self.problem.spectrum_energies())
        spectrum = jax.jit(spectral_function)(lattice, state, energies, c.broadening)
        return BranchPoint(state, spectrum)

    def is_converged(self, state: MeanField) -> bool:
        """Tell whether the mean field is one, and its bath more than none at all."""
        c = self.problem.configuration
        is_fitted = state.fit_error < NO_FIT * np.abs(state.hybridization).max()
        is_one = state.impurity_converged & (state.change <= c.tolerance)
        return bool(is_one & is_fitted)

    def _start(self, results: Results) -> MeanField:
        if self.before is not None:
            last: MeanField = results[self.before].mean_field
            if np.isfinite(last.change):
                return last.restarted()
        return self.problem.start(self.branch, self.interaction)

    def _goes_on(self, state: MeanField) -> bool:
        c = self.problem.configuration
        is_off = bool(state.change > c.tolerance)  # not for NaN
        is_off &= bool(state.impurity_converged)
        return is_off and int(state.num_iterations) < c.max_iterations

    def _piece(self, lattice: BetheLattice, state: MeanField) -> MeanField:
        c = self.problem.configuration
        end = min(int(state.num_iterations) + PIECE, c.max_iterations)
        return iterate(
            lattice,
            state,
            mixing=c.mixing,
            tolerance=c.tolerance,
            max_iterations=end,
        )

    def _row(self, lattice: BetheLattice, state: MeanField) -> dict[str, Any]:
        weight = state.quasiparticle_weight(lattice)
        return {
            "step": int(state.num_iterations),
            "change": float(state.change),
            "Z": float(weight),
            "double_occupancy": float(state.double_occupancy),
        }

    def state_template(self, results: Results) -> MeanField:  # noqa: ARG002
        """Return the shapes of a mean field."""
        return jax.eval_shape(lambda: self.problem.start(self.branch, self.interaction))

    def result_template(self, results: Results) -> BranchPoint:
        """Return the shapes of the result."""
        state = self.state_template(results)
        dtype = state.hybridization.dtype
        spectrum = jax.eval_shape(lambda: jnp.zeros(NUM_ENERGIES, dtype))
        return BranchPoint(state, spectrum)


def mott_transition_problem(
    configuration: MottTransitionConfiguration,
) -> MottTransitionProblem:
    """Check the options.

    Raises
    ------
    ValueError
        If one is out of its range.
    """
    c = configuration
    u = np.array(c.interactions)
    if not u.size or len(set(u)) < u.size or not np.all((u >= 0) & np.isfinite(u)):
        cure = "give each once, as in --interactions 1 2 3"
        raise expected("different --interactions U >= 0", c.interactions, cure)
    if c.sites % 2 == 0 or not 3 <= c.sites <= MAX_SITES:
        cure = "the metal needs a level at zero"
        raise expected(f"an odd number of --sites from 3 to {MAX_SITES}", c.sites, cure)
    if c.frequencies < c.sites + 1:
        cure = "a bath needs more than it has numbers"
        raise expected(f"more than {c.sites} --frequencies", c.frequencies, cure)
    _require_positive("--half-bandwidth", c.half_bandwidth, "1 is usual")
    _require_positive("--beta", c.beta, "200 is usual")
    if c.beta * c.half_bandwidth <= np.pi:
        cure = "the first frequency must lie in the band"
        raise expected("--beta above pi / D", c.beta, cure)
    _require_positive("--tolerance", c.tolerance, "1e-6 is usual")
    _require_positive("--broadening", c.broadening, "0.05 is usual")
    if not 0 < c.mixing <= 1:
        raise expected("--mixing above 0, up to 1", c.mixing, "0.7 is usual")
    if c.max_iterations < 1:
        raise expected("--max-iterations of 1 or more", c.max_iterations, "see --help")
    return MottTransitionProblem(c)


def _require_positive(option: str, value: float, cure: str) -> None:
    if not 0 < value < float("inf"):
        raise expected(f"{option} > 0", value, cure)
