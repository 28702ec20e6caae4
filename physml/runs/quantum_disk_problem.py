"""The levels of a disc as the computation of a run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import jax
import numpy as np

from physml.failures import expected
from physml.hamiltonians import (
    DiskPotential,
    DiskStates,
    FreeDisk,
    HarmonicDisk,
    QuantumDisk,
    QuarticDisk,
    RingDisk,
    quantum_disk,
)
from physml.runs.run import RunConfiguration, Standing
from physml.solvers import eigenvalues

PotentialName = Literal["free", "harmonic", "quartic", "ring"]
MAX_BASIS = 1000


@dataclass(frozen=True, kw_only=True)
class QuantumDiskConfiguration(RunConfiguration):
    """Options of the levels of a disc with a hard wall; hbar = m = 1."""

    radius: float = 1.0
    """Of the disc, in units of length."""
    potential: PotentialName = "harmonic"
    """free: none; harmonic: omega^2 r^2 / 2; quartic: s r^4; ring: s (r^2 - a^2)^2."""
    omega: float = 4.0
    """Frequency of the harmonic potential, in units of energy."""
    strength: float = 1000.0
    """s of quartic and ring, an energy / length^4."""
    ring_radius: float = 0.5
    """a of the ring, in units of length."""
    flux: float = 0.0
    """Through the center, in units of h/q."""
    angular_momenta: tuple[int, ...] = (0, 1, 2)
    """Different integers."""
    basis: int = 80
    """Bessel functions of each angular momentum, up to 1000."""
    levels: int = 3
    """Of each angular momentum."""

    @classmethod
    def quick_defaults(cls) -> Self:
        """Return the defaults that --quick stands for."""
        return cls(basis=20, levels=2, quick=True)


class DiskLevels(NamedTuple):
    """The lowest levels of each angular momentum, and how good they are."""

    states: DiskStates  # of shape (num_momenta, num_levels)
    changes: jax.Array  # levels of half the basis minus these, the same shape
    quadrature_error: jax.Array  # ()


@dataclass(frozen=True)
class QuantumDiskProblem:
    """The levels of a disc as a `physml.runs.run.Computation` of one step."""

    configuration: QuantumDiskConfiguration
    disk: QuantumDisk
    potential: DiskPotential
    num_steps: int = 1

    def compute(
        self, *, observer: Callable[..., object], snapshot: DiskLevels | None
    ) -> DiskLevels:
        """Diagonalize all angular momenta."""
        if snapshot is None:
            snapshot = jax.block_until_ready(jax.jit(self._levels)())
            observer(snapshot, snapshot)
        return snapshot

    def _levels(self) -> DiskLevels:
        c = self.configuration
        states = self.disk.radial_states(self.potential, c.levels)
        half = max(c.basis // 2, c.levels)
        matrices = self.disk.radial_hamiltonian(self.potential)
        of_half = eigenvalues(matrices[:, :half, :half])[:, : c.levels]
        error = self.disk.radial_quadrature_error(self.potential)
        return DiskLevels(states, of_half - states.energies, error)

    def rows(self, snapshot: DiskLevels, records: DiskLevels) -> list[dict[str, Any]]:  # noqa: ARG002
        """Return a line for each angular momentum."""
        energies = np.asarray(records.states.energies).tolist()
        return [
            {"step": 1, "angular_momentum": m, "energies": row}
            for m, row in zip(self.disk.angular_momenta, energies, strict=True)
        ]

    def standing(self, row: dict[str, Any]) -> Standing:
        """Say that the levels are found."""
        line = f"m = {row['angular_momentum']}, lowest {row['energies'][0]:.12g}"
        return Standing("after the diagonalization", row["step"], line)

    def pack(self, snapshot: DiskLevels) -> tuple[DiskLevels, dict[str, Any]]:
        """Return the levels; all is in them."""
        return snapshot, {}

    def template(self, information: dict[str, Any]) -> DiskLevels:  # noqa: ARG002
        """Return the shapes of the levels."""
        return jax.eval_shape(self._levels)

    def unpack(self, tree: DiskLevels, information: dict[str, Any]) -> DiskLevels:  # noqa: ARG002
        """Return the levels again."""
        return tree


def quantum_disk_problem(configuration: QuantumDiskConfiguration) -> QuantumDiskProblem:
    """Check the options and make the disc.

    Raises
    ------
    ValueError
        If an option is out of its range.
    """
    c = configuration
    if not 0 < c.basis <= MAX_BASIS:
        raise expected(f"--basis from 1 to {MAX_BASIS}", c.basis, "choose another")
    if not 0 < c.levels <= c.basis:
        raise expected(
            f"--levels from 1 to {c.basis}, the size of the basis",
            c.levels,
            "ask for fewer or raise --basis",
        )
    disk = quantum_disk(
        c.radius,
        angular_momenta=c.angular_momenta,
        num_functions=c.basis,
        flux=c.flux,
    )
    potential = _potential(c)
    disk.radial_hamiltonian(potential)  # refuses what is not finite
    return QuantumDiskProblem(c, disk, potential)


def _potential(configuration: QuantumDiskConfiguration) -> DiskPotential:
    c = configuration
    match c.potential:
        case "free":
            return FreeDisk()
        case "harmonic":
            return HarmonicDisk(c.omega)
        case "quartic":
            return QuarticDisk(c.strength)
        case "ring":
            return RingDisk(c.strength, c.ring_radius)
    raise expected("a potential named in --help", c.potential, "choose one of them")
