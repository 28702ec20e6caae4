r"""A particle on a disc with a hard wall, in Bessel functions.

.. math:: H = \tfrac12 \left( -\frac{\partial^2}{\partial r^2}
              - \frac1r \frac{\partial}{\partial r}
              + \frac{(-i \partial_\theta - \alpha)^2}{r^2} \right) + V(r, \theta),
          \qquad \psi(R, \theta) = 0 .

Units: hbar = m = 1; energies in hbar^2 / (m length^2). A flux through the center,
alpha in units of h/q, makes the order of the Bessel functions of the angular momentum m
:math:`|m - \alpha|`. A state is

.. math:: \psi(r, \theta) = \sum_{m, n} c_{mn} \phi_{mn}(r)
          \frac{e^{i m \theta}}{\sqrt{2 \pi}}, \qquad
          \phi_{mn}(r) \propto J_{|m - \alpha|}(j_n r / R) .

The kinetic energy is diagonal, j_n^2 / 2 R^2, the potential an integral by Gauss's
rule. Levels are upper bounds of the exact ones, to the errors of the integrals and
rounding, eps times the largest kinetic energy, and converge with a power of the number
of functions: as N^-7 for V with a slope at the wall (coefficients fall as n^-5).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected, expected_type
from physml.operators.bessel_basis import BesselBasis, bessel_basis
from physml.pytrees import register_dataclass
from physml.solvers.eigenpairs import eigenpairs
from physml.solvers.eigenvalues import eigenvalues
from physml.tracing import is_traced

RadialPotential = Callable[[jax.Array], jax.typing.ArrayLike]
PlanarPotential = Callable[[jax.Array, jax.Array], jax.typing.ArrayLike]


class DiskStates(NamedTuple):
    """Levels, and the coefficients of their states; of any leading shape."""

    energies: jax.Array  # (...)
    coefficients: jax.Array  # (..., num_momenta, num_functions)


@partial(register_dataclass, static=("angular_momenta", "flux", "num_angles"))
@dataclass(frozen=True)
class QuantumDisk:
    """The basis of a disc; made by `quantum_disk`.

    Potentials are functions of arrays. All methods may be differentiated with respect
    to what they close over: levels in both modes, states in reverse mode.
    """

    basis: BesselBasis
    angular_momenta: tuple[int, ...]
    flux: float
    num_angles: int

    @property
    def kinetic_energies(self) -> jax.Array:
        """The levels of the free disc, shape (num_momenta, num_functions)."""
        return (self.basis.zeros / self.basis.radius) ** 2 / 2

    def radial_hamiltonian(self, potential: RadialPotential) -> jax.Array:
        """Return H for V(r): a block for each angular momentum.

        Parameters
        ----------
        potential
            V(r), called with the points of the rule, shape (num_points,).

        Returns
        -------
        jax.Array
            Shape (num_momenta, num_functions, num_functions).

        Raises
        ------
        ValueError
            If V has another shape than r, is complex or not finite.
        """
        basis = self.basis
        values = _checked(potential(basis.radii), basis.radii.shape)
        weighted = basis.functions * (values * basis.weights)[None, None]
        blocks = jnp.einsum("mip,mjp->mij", weighted, basis.functions)
        identity = jnp.eye(blocks.shape[-1], dtype=blocks.dtype)
        return blocks + self.kinetic_energies[..., None] * identity[None]

    def planar_hamiltonian(self, potential: PlanarPotential) -> jax.Array:
        r"""Return H for any V(r, theta), which couples the angular momenta.

        .. math:: \langle m n | V | m' n' \rangle = \int \phi_{mn} V_{m - m'}(r)
                  \phi_{m'n'} \, r \, dr, \quad
                  V_k(r) = \int \frac{d\theta}{2 \pi} V(r, \theta) e^{-i k \theta}

        Parameters
        ----------
        potential
            V(r, theta), called with arrays of shapes (num_points, num_angles).

        Returns
        -------
        jax.Array
            Complex; rows and columns by (angular momentum, function), functions fast.

        Raises
        ------
        ValueError
            If V has another shape than r and theta, is complex or not finite.
        """
        basis = self.basis
        r, theta = self._polar_grid()
        values = _checked(potential(r, theta), r.shape)
        multipoles = jnp.fft.fft(values, axis=1) / self.num_angles  # (points, k)
        m = np.asarray(self.angular_momenta)
        coupling = multipoles[:, (m[:, None] - m[None]) % self.num_angles]
        functions = basis.functions.astype(coupling.dtype)
        weighted = functions * basis.weights.astype(coupling.dtype)[None, None]
        size = functions.shape[0] * functions.shape[1]
        matrix = jnp.einsum("mip,pmn,njp->minj", weighted, coupling, functions)
        kinetic = jnp.diag(self.kinetic_energies.ravel()).astype(coupling.dtype)
        return matrix.reshape(size, size) + kinetic

    def radial_levels(self, potential: RadialPotential) -> jax.Array:
        """Return the levels for V(r), shape (num_momenta, num_functions), ascending."""
        return eigenvalues(self.radial_hamiltonian(potential))

    def planar_levels(self, potential: PlanarPotential) -> jax.Array:
        """Return the levels for V(r, theta), shape (num_momenta num_functions,)."""
        return eigenvalues(self.planar_hamiltonian(potential))

    def radial_states(self, potential: RadialPotential, num_levels: int) -> DiskStates:
        """Return the lowest states of each angular momentum for V(r).

        Returns
        -------
        DiskStates
            Of shape (num_momenta, num_levels).

        Raises
        ------
        ValueError
            If there are more levels than functions, or V is bad.
        """
        num_momenta, num_functions = self.basis.zeros.shape
        _require_levels(num_levels, num_functions)
        levels, vectors = eigenpairs(self.radial_hamiltonian(potential))
        rows = jnp.swapaxes(vectors[..., :num_levels], -1, -2)  # (m, level, function)
        of_momenta = jnp.eye(num_momenta, dtype=rows.dtype)[:, None, :, None]
        return DiskStates(levels[:, :num_levels], rows[:, :, None] * of_momenta)

    def planar_states(self, potential: PlanarPotential, num_levels: int) -> DiskStates:
        """Return the lowest states for V(r, theta), of shape (num_levels,).

        Raises
        ------
        ValueError
            If there are more levels than functions, or V is bad.
        """
        shape = self.basis.zeros.shape
        _require_levels(num_levels, shape[0] * shape[1])
        levels, vectors = eigenpairs(self.planar_hamiltonian(potential))
        rows = vectors.T[:num_levels].reshape(num_levels, *shape)
        return DiskStates(levels[:num_levels], rows)

    def wave_functions(
        self, states: DiskStates, r: np.ndarray, theta: np.ndarray
    ) -> jax.Array:
        """Return psi at points of the plane; zero beyond the wall.

        Parameters
        ----------
        states
            Of any shape.
        r, theta
            Known numbers of one shape, as of `polar_grid` or `cartesian_grid`.

        Returns
        -------
        jax.Array
            Complex, shape (*states.energies.shape, *r.shape), in 1 / length: the
            integral of the density |psi|^2 over the plane is 1.
        """
        r, theta = np.broadcast_arrays(r, theta)
        distinct, places = np.unique(r, return_inverse=True)  # a grid has few radii
        shape = self.basis.zeros.shape
        coefficients = states.coefficients.reshape(-1, *shape)
        table = jnp.asarray(self.basis.at(distinct), coefficients.dtype)
        radial = jnp.einsum("smn,mnr->smr", coefficients, table)
        turns = np.multiply.outer(np.asarray(self.angular_momenta), theta.ravel())
        dtype = np.result_type(coefficients.dtype, np.complex64)
        phases = jnp.asarray(np.exp(1j * turns) / np.sqrt(2 * np.pi), dtype)
        radial = radial[..., places.ravel()].astype(dtype)
        psi = jnp.sum(radial * phases[None], axis=1)
        return psi.reshape(*states.energies.shape, *r.shape)

    def densities(
        self, states: DiskStates, r: np.ndarray, theta: np.ndarray
    ) -> jax.Array:
        """Return |psi|^2 at points of the plane, in 1 / length^2."""
        psi = self.wave_functions(states, r, theta)
        return psi.real**2 + psi.imag**2

    def polar_grid(
        self, num_radii: int, num_angles: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return r and theta of equally spaced points, shape (num_radii, num_angles).

        The first radius is 0, the last the wall; angles are in [0, 2 pi).
        """
        radii = np.linspace(0, self.basis.radius, num_radii)
        angles = 2 * np.pi * np.arange(num_angles) / num_angles
        r, theta = np.meshgrid(radii, angles, indexing="ij")
        return r, theta

    def cartesian_grid(self, num_points: int) -> tuple[np.ndarray, np.ndarray]:
        """Return r and theta of a square grid around the disc.

        Axis 0 is x, axis 1 is y; both go from -R to R.

        Returns
        -------
        tuple of np.ndarray
            Each of shape (num_points, num_points).
        """
        axis = self.basis.radius * np.linspace(-1, 1, num_points)
        x, y = np.meshgrid(axis, axis, indexing="ij")
        return np.hypot(x, y), np.arctan2(y, x)

    def radial_quadrature_error(self, potential: RadialPotential) -> jax.Array:
        """Return how far the error of the integrals of V(r) can move a level.

        The largest norm by which H changes with a rule of half as many points more; no
        level moves by more (Weyl).
        """
        change = self._finer().radial_hamiltonian(potential)
        return _largest_norm(change - self.radial_hamiltonian(potential))

    def planar_quadrature_error(self, potential: PlanarPotential) -> jax.Array:
        """Return how far the error of the integrals of V(r, theta) can move a level."""
        change = self._finer().planar_hamiltonian(potential)
        return _largest_norm(change - self.planar_hamiltonian(potential))

    def _finer(self) -> "QuantumDisk":
        """Return the same functions with half as many points and angles more."""
        basis = self.basis.with_points(3 * self.basis.radii.size // 2)
        return replace(self, basis=basis, num_angles=3 * self.num_angles // 2)

    def _polar_grid(self) -> tuple[jax.Array, jax.Array]:
        """Return r and theta of the rule, (num_points, num_angles)."""
        radii = self.basis.radii
        angles = 2 * np.pi * jnp.arange(self.num_angles, dtype=radii.dtype)
        r, theta = jnp.meshgrid(radii, angles / self.num_angles, indexing="ij")
        return r, theta


def quantum_disk(
    radius: float = 1.0,
    *,
    angular_momenta: Sequence[int] = (0, 1, 2),
    num_functions: int = 40,
    flux: float = 0.0,
    num_points: int | None = None,
    num_angles: int | None = None,
) -> QuantumDisk:
    """Make the basis of a disc with a hard wall.

    Parameters
    ----------
    radius
        R, a length.
    angular_momenta
        Integers m. Potentials V(r, theta) couple those given, so give enough.
    num_functions
        Of each angular momentum.
    flux
        alpha, through the center, in units of h/q.
    num_points, num_angles
        Of the integrals. By default enough for smooth potentials; see
        `QuantumDisk.radial_quadrature_error`.

    Raises
    ------
    ValueError
        If the radius or a number is not positive, the flux not finite, or the angular
        momenta are not different integers.
    TypeError
        If radius or flux are traced.

    Examples
    --------
    >>> import physml
    >>> physml.enable_x64()
    >>> disk = quantum_disk(angular_momenta=[0])
    >>> levels = disk.radial_levels(lambda r: r**2 / 2)
    >>> [round(float(level), 10) for level in levels[0, :2]]
    [3.0, 15.3915380495]
    """
    momenta = tuple(int(m) for m in angular_momenta)
    is_integer = all(
        m == given for m, given in zip(momenta, angular_momenta, strict=True)
    )
    if not momenta or not is_integer or len(set(momenta)) < len(momenta):
        raise expected(
            "different integers as angular momenta",
            list(angular_momenta),
            "give each once, as in range(-3, 4)",
        )
    if is_traced((radius, flux)):
        raise expected_type(
            "a known radius and flux", "traced ones", "make the disc outside of jit"
        )
    if not np.isfinite(flux):
        raise expected("a finite flux", flux, "give it in units of h/q")
    spread = max(momenta) - min(momenta)
    num_angles = 4 * spread + 32 if num_angles is None else num_angles
    if num_angles <= 2 * spread:
        raise expected(
            f"more than {2 * spread} angles for these angular momenta",
            num_angles,
            "leave the default",
        )
    orders = [abs(m - flux) for m in momenta]
    basis = bessel_basis(orders, num_functions, radius, num_points=num_points)
    return QuantumDisk(basis, momenta, float(flux), num_angles)


def _largest_norm(matrices: jax.Array) -> jax.Array:
    return jnp.max(jnp.linalg.norm(matrices, axis=(-2, -1)))


def _checked(values: jax.typing.ArrayLike, shape: tuple[int, ...]) -> jax.Array:
    values = jnp.asarray(values)
    if values.shape not in ((), shape):
        raise expected(
            f"a potential of shape {shape}, one value for each point",
            f"shape {values.shape}",
            "let the potential act on arrays, element by element",
        )
    if jnp.iscomplexobj(values):
        raise expected(
            "a real potential", values.dtype, "take its real part if that is meant"
        )
    if not is_traced(values) and not bool(jnp.all(jnp.isfinite(values))):
        raise expected(
            "a potential that is finite inside the disc",
            "one that is not",
            "cut the singularity off",
        )
    return jnp.broadcast_to(values, shape)


def _require_levels(num_levels: int, size: int) -> None:
    if not 0 < num_levels <= size:
        raise expected(
            f"between 1 and {size} levels in a basis of {size} functions",
            num_levels,
            "ask for fewer levels or take more functions",
        )
