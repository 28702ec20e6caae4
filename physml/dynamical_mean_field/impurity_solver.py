r"""The ground state of an Anderson impurity and its Green's function, exactly.

.. math:: G(z) = \langle 0| d \, (z + E_0 - H)^{-1} d^\dagger |0\rangle
               + \langle 0| d^\dagger (z - E_0 + H)^{-1} d \, |0\rangle

at zero temperature. H conserves the spin: each multiplet has a member with as many
electrons of spin up as down, or one more, so that only these sectors are searched. G is
the mean over both spins, which is the same for all members of a multiplet. Ground
states of several sectors are averaged; those of an odd number of electrons count twice.
Two multiplets of one level in one sector (a site with V = 0 at the level of an impurity
whose charge fluctuates) are an accident that is not averaged.

The state comes from Lanczos cycles (`physml.solvers.lowest_state`), each term of G from
one Krylov space for all z (`physml.greens_functions.greens_function`).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.dynamical_mean_field.impurity import (
    AndersonImpurity,
    Sectors,
    require_impurity,
    sectors_of,
)
from physml.failures import RunFailure, expected
from physml.greens_functions.greens_function import greens_function
from physml.operators.fock_space import width
from physml.precision import default_float_dtype
from physml.solvers.lowest_state import LowestState, lowest_state
from physml.tracing import is_traced

SAME_LEVEL = 1e-8  # levels nearer than this, in units of the largest, are one


class ImpuritySolution(NamedTuple):
    """What the ground states of an impurity tell, and how good it is."""

    energy: jax.Array  # E_0, ()
    greens_function: jax.Array  # G of one spin, the mean of both, complex, (num_z,)
    occupation: jax.Array  # <n_up + n_down> of the impurity, ()
    double_occupancy: jax.Array  # <n_up n_down>, ()
    sector_weights: jax.Array  # of each number of electrons searched, sum 1
    states: jax.Array  # the lowest of each, (num_sectors, width^2): starts for others
    residual_norm: jax.Array  # the largest of |H psi - E psi|, an energy, ()
    relative_residual: jax.Array  # the largest of those of G, ()
    converged: jax.Array  # ()


class _Terms(NamedTuple):
    """What one ground state adds."""

    greens_function: jax.Array
    occupation: jax.Array
    double_occupancy: jax.Array
    relative_residual: jax.Array
    converged: jax.Array


def solve_impurity(
    impurity: AndersonImpurity,
    z: Any,
    *,
    num_electrons: int | None = None,
    states: jax.Array | None = None,
    tolerance: float = 1e-8,
) -> ImpuritySolution:
    """Return the ground state of an impurity and its Green's function at zero T.

    Parameters
    ----------
    impurity
        U, its level, and a bath of one orbital.
    z
        Complex energies off the real axis, shape (num_z,).
    num_electrons
        In impurity and bath; by default all numbers are searched. In a bath that is
        symmetric about zero and epsilon_d = -U / 2, U >= 0, num_sites + 1 is right.
    states
        Where the search starts: those of a similar impurity, which save most of the
        work if no level has crossed the lowest. By default random ones.
    tolerance
        Of the relative residual of each term of G, which errs by about its square.

    Returns
    -------
    ImpuritySolution
        Inside of jit nothing raises: look at `converged`. No derivative is meant: the
        ground state has none here.

    Raises
    ------
    ValueError
        For a bath of several orbitals, real z, an impossible number of electrons,
        states of another shape, or numbers that are not finite.
    RunFailure
        If ground state or Green's function have not converged.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from physml.dynamical_mean_field import Bath, half_filled_impurity
    >>> bath = Bath(jnp.zeros(1), jnp.full(1, 0.5))
    >>> solution = solve_impurity(half_filled_impurity(2.0, bath), jnp.array([1j]))
    >>> round(float(solution.energy), 6)  # -U / 4 - sqrt(U^2 / 16 + 4 V^2)
    -1.618034
    """
    z = jnp.asarray(z)
    sectors = _sectors(impurity.num_orbitals, num_electrons)
    require_impurity(impurity)
    if not is_traced(z):
        _require_off_axis(np.asarray(z))
    if states is None:
        states = random_states(impurity.num_orbitals, len(sectors))
    _require_states(states, (len(sectors), width(impurity.num_orbitals) ** 2))
    solution = _solve(impurity, z, states, sectors, tolerance)
    if not is_traced(solution) and not solution.converged:
        raise RunFailure(
            "The impurity has not converged: its ground state has a residual of "
            f"{float(solution.residual_norm):.1e}, its Green's function one of "
            f"{float(solution.relative_residual):.1e}; raise the tolerance or move z "
            "away from the real axis."
        )
    return solution


def _require_states(states: jax.Array, shape: tuple[int, int]) -> None:
    if jnp.shape(states) != shape:
        cure = "take those of an impurity with as many sites and electrons"
        raise expected(f"states of shape {shape}", jnp.shape(states), cure)


def random_states(num_orbitals: int, num_sectors: int) -> jax.Array:
    """Return `states` that have a part of every other one, always the same."""
    size = width(num_orbitals) ** 2
    state = np.random.default_rng(0).standard_normal(size)
    return jnp.asarray(np.tile(state, (num_sectors, 1)), default_float_dtype())


def _require_off_axis(z: np.ndarray) -> None:
    if z.ndim != 1 or not len(z) or not np.all(np.isfinite(z) & (z.imag != 0)):
        raise expected(
            "finite complex z off the real axis, shape (num_z,)",
            f"shape {z.shape}, {z.dtype}",
            "take 1j * frequencies, or energies + 1j * broadening",
        )


def _sectors(num_orbitals: int, num_electrons: int | None) -> tuple[int, ...]:
    most = 2 * num_orbitals
    if num_electrons is None:
        return tuple(range(most + 1))
    if not 0 <= num_electrons <= most:
        cure = "there are two for each orbital"
        raise expected(f"0 to {most} electrons", num_electrons, cure)
    return (num_electrons,)


@partial(jax.jit, static_argnums=(3, 4))
def _solve(
    impurity: AndersonImpurity,
    z: jax.Array,
    states: jax.Array,
    electrons: tuple[int, ...],
    tolerance: float,
) -> ImpuritySolution:
    sectors = sectors_of(impurity)
    total = jnp.asarray(electrons)
    spins = jnp.stack([(total + 1) // 2, total // 2], axis=1)  # up, down
    search = partial(_lowest_of_sector, sectors)
    lowest = jax.lax.map(lambda case: search(*case), (spins, states))
    weights = _weights(lowest.energy, total)
    terms = _unless_zero(partial(_terms, sectors, z, tolerance))
    found = jax.lax.map(terms, (weights, spins, lowest.vector, lowest.energy))
    mean = jax.tree.map(lambda x: jnp.tensordot(weights.astype(x.dtype), x, 1), found)
    energy = jnp.min(lowest.energy)
    return ImpuritySolution(
        energy=energy,
        greens_function=mean.greens_function,
        occupation=mean.occupation,
        double_occupancy=mean.double_occupancy,
        sector_weights=weights,
        states=lowest.vector,
        residual_norm=jnp.max(lowest.residual_norm),
        relative_residual=jnp.max(found.relative_residual),
        converged=jnp.all(lowest.is_converged) & jnp.all(found.converged),
    )


def _lowest_of_sector(
    sectors: Sectors, spins: jax.Array, start: jax.Array
) -> LowestState:
    exists = sectors.states(*spins).ravel()
    return lowest_state(
        sectors.hamiltonian(*spins), start.astype(exists.dtype) * exists
    )


def _weights(energies: jax.Array, num_electrons: jax.Array) -> jax.Array:
    """Return the weight of each sector in the mean over the ground states."""
    lowest, size = jnp.min(energies), jnp.max(jnp.abs(energies))
    is_ground = energies - lowest <= SAME_LEVEL * size
    members = (1 + num_electrons % 2).astype(energies.dtype)  # doublets come twice
    weights = jnp.where(is_ground, members, 0)
    return weights / jnp.sum(weights)


def _unless_zero(terms: Callable[..., _Terms]) -> Callable[..., _Terms]:
    """Leave out what has no weight; NaN has one."""

    def weighted(arguments: tuple[jax.Array, ...]) -> _Terms:
        weight, *rest = arguments
        nothing = jax.tree.map(
            lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(terms, *rest)
        )._replace(converged=jnp.asarray(True))
        return jax.lax.cond(weight == 0, lambda: nothing, lambda: terms(*rest))

    return weighted


def _terms(
    sectors: Sectors,
    z: jax.Array,
    tolerance: float,
    spins: jax.Array,
    vector: jax.Array,
    energy: jax.Array,
) -> _Terms:
    width = sectors.occupation.shape[1]
    psi = vector.reshape(width, width)
    density = jnp.abs(psi) ** 2
    up, down = sectors.occupation[spins[0]], sectors.occupation[spins[1]]
    element = partial(_spin_up_elements, sectors, z, tolerance, energy)
    # H is symmetric under the exchange of both spins, which transposes psi
    pairs = jnp.stack([spins, spins[::-1]]), jnp.stack([psi, psi.T])
    value, residual, converged = jax.lax.map(lambda pair: element(*pair), pairs)
    return _Terms(
        greens_function=jnp.mean(value, axis=0),
        occupation=up @ jnp.sum(density, axis=1) + down @ jnp.sum(density, axis=0),
        double_occupancy=up @ density @ down,
        relative_residual=jnp.max(residual),
        converged=jnp.all(converged),
    )


def _spin_up_elements(
    sectors: Sectors,
    z: jax.Array,
    tolerance: float,
    energy: jax.Array,
    spins: jax.Array,
    psi: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return G of spin up, its largest residual, and whether it has converged."""
    num_up, num_down = spins
    changes = jnp.array([1, -1])
    signs = changes.astype(energy.dtype)
    vectors = jnp.stack(
        [sectors.creation[num_up] @ psi, sectors.annihilation[num_up] @ psi]
    )

    def term(
        change: jax.Array, sign: jax.Array, vector: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        found = greens_function(
            sectors.hamiltonian(num_up + change, num_down),
            energy + sign * z,
            column=vector.ravel(),
            method="krylov",
            tolerance=tolerance,
        )
        is_empty = jnp.all(vector == 0)
        residual = jnp.where(is_empty, 0, jnp.max(found.relative_residual))
        return sign * found.value, residual, jnp.all(found.converged) | is_empty

    terms = jax.lax.map(lambda case: term(*case), (changes, signs, vectors))
    value, residual, converged = terms
    return jnp.sum(value, axis=0), jnp.max(residual), jnp.all(converged)
