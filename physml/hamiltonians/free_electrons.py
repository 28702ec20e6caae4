r"""Electrons that do not see each other, at a temperature, from their matrix H.

H is Hermitian, already measured from the chemical potential, with levels
:math:`E_n`. With the density matrix :math:`\rho = f(H)`, :math:`f(E) = 1 / (1 +
e^{E/T})`, the grand potential (here: free energy), its derivatives and the entropy are

.. math::
    F = -T \sum_n \ln(1 + e^{-E_n / T}) , \qquad
    dF = \operatorname{tr}(\rho \, dH) - S \, dT , \qquad
    S = -\sum_n \big[ f_n \ln f_n + (1 - f_n) \ln(1 - f_n) \big] .

The derivative takes no difference of levels, so degenerate levels are no trouble.
Derivation: docs/derivations/double_exchange.md. Units: :math:`k_B = 1`, T in the units
of H.
"""

import jax
import jax.numpy as jnp

from physml.layers.softplus import softplus
from physml.pullbacks import Derivative, with_pullback
from physml.solvers.eigenvalues import eigenvalues


def free_energy(
    matrix: jax.Array, temperature: jax.Array, *, derivative: Derivative = "custom_vjp"
) -> jax.Array:
    """Return the free energy of electrons with the Hamiltonian `matrix`.

    Parameters
    ----------
    matrix
        Hermitian, shape (..., n, n); the Hermitian part is taken of another one.
    temperature
        T > 0, a number of the matrix's real dtype.
    derivative
        "custom_vjp", the hand-written pullback, or "autodiff" of the levels.

    Returns
    -------
    jax.Array
        F, shape (...).

    Notes
    -----
    Value and derivative cost one diagonalization and one product of matrices; the
    density matrix is kept between them.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> one_level, temperature = jnp.zeros((1, 1)), jnp.array(1.0)
    >>> f"{free_energy(one_level, temperature):.6f}"  # -ln 2
    '-0.693147'
    >>> jax.grad(free_energy)(one_level, temperature).item()  # its occupation
    0.5
    """
    return _free_energy(matrix, temperature, derivative=derivative)


def occupations(levels: jax.Array, temperature: jax.Array) -> jax.Array:
    """Return 1 / (1 + exp(E / T)) for each level, shape (..., n)."""
    return jax.nn.sigmoid(-levels / temperature)


def entropy(levels: jax.Array, temperature: jax.Array) -> jax.Array:
    """Return S = -dF/dT of levels (..., n), shape (...); each holds at most ln 2."""
    x = jnp.abs(levels / temperature)  # electron and hole have the same entropy
    return jnp.sum(softplus(-x) + x * jax.nn.sigmoid(-x), axis=-1)


def free_energy_of_levels(levels: jax.Array, temperature: jax.Array) -> jax.Array:
    """Return F of levels (..., n), shape (...)."""
    return -temperature * jnp.sum(softplus(-levels / temperature), axis=-1)


@jax.jit
def _energy(matrix: jax.Array, temperature: jax.Array) -> jax.Array:
    return free_energy_of_levels(eigenvalues(matrix), temperature)


@jax.jit
def _energy_and_residuals(
    matrix: jax.Array, temperature: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    levels, vectors = jnp.linalg.eigh(matrix)
    weights = occupations(levels, temperature)[..., None, :].astype(matrix.dtype)
    adjoint = jnp.swapaxes(vectors, -1, -2).conj()
    density = (vectors * weights) @ adjoint  # (..., n, n)
    value = free_energy_of_levels(levels, temperature)
    return value, (density, entropy(levels, temperature))


def _pullback(
    residuals: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Pull a cotangent of F, shape (...), back to the matrix and to T."""
    density, entropies = residuals
    weight = cotangent[..., None, None].astype(density.dtype)
    # JAX pairs cotangents without conjugation: dF = sum_ij rho_ji dH_ij
    return weight * jnp.swapaxes(density, -1, -2), -jnp.sum(cotangent * entropies)


_free_energy = with_pullback(
    _energy, _pullback, _energy_and_residuals, name="free_energy"
)
