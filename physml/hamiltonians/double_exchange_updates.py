r"""The weight of double exchange after a move of one spin, without a diagonalization.

A move changes H by :math:`\Delta = \frac J2 (\mathbf S' - \mathbf S) \cdot
\boldsymbol\sigma` on one site. With :math:`G(z) = (z - H)^{-1}` and the 2 x 2 block
:math:`G_{ii}` of the site,

.. math::
    \frac{\det(z - H - \Delta)}{\det(z - H)} = \det D(z) , \qquad
    D(z) = 1 - \Delta G_{ii}(z) ,

and with :math:`\tanh(E/2T) \approx a E/T + \sum_k c_k (E/T) / (E^2/T^2 + y_k^2)` on the
band (`physml.solvers.fermi_poles`)

.. math::
    -\frac{F' - F}{T} = \sum_k \frac{c_k}{2} \ln |\det D(i y_k T)| .

What is left out, the traces of H and of H^2, no move of a unit vector changes. All
numbers are real, no branch of a logarithm has to be chosen. A trial reads the blocks
of one site; a move changes G by a product of rank two,

.. math::
    G' = G + G_{\cdot i} \, D^{-1} \Delta \, G_{i \cdot} .

Derivation, and what it costs: docs/derivations/double_exchange.md.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from physml.failures import expected
from physml.hamiltonians.double_exchange import (
    DoubleExchange,
    adjacency,
    pauli,
    require_temperature,
)
from physml.hamiltonians.free_electrons import free_energy_of_levels
from physml.precision import default_float_dtype
from physml.pytrees import register_dataclass
from physml.samplers.local_density import LocalDensity, WholeDensity
from physml.solvers.fermi_poles import fermi_poles
from physml.tracing import is_traced

Method = Literal["greens_function", "diagonalization"]


def double_exchange_density(
    model: DoubleExchange,
    temperature: float,
    *,
    method: Method = "greens_function",
    tolerance: float = 1e-12,
) -> LocalDensity:
    """Return the density exp(-F/T) of spins, for samplers that move one spin at a time.

    Parameters
    ----------
    model
        Its numbers must be known.
    temperature
        T > 0, known.
    method
        "greens_function" keeps Green's functions at a few energies: a trial takes
        microseconds, a move one product of rank two for each. "diagonalization" finds
        all levels anew for each trial and, where a move is a branch, for each move.
    tolerance
        Largest error of the Fermi function in "greens_function".

    Returns
    -------
    LocalDensity
        A pytree; another temperature or model compiles nothing if its number of poles
        is the same.

    Raises
    ------
    ValueError
        For T <= 0, numbers that are not finite, traced ones, or another method.

    Notes
    -----
    Chains of "greens_function" run by `lax.map`: under `vmap` every trial pays for a
    move. Float64 is meant. Lengths of spins are not looked at here: (6) of the
    derivation holds for unit vectors.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from physml.lattices import chain
    >>> density = double_exchange_density(DoubleExchange(chain(4)), 0.1)
    >>> up = jnp.zeros((4, 3)).at[:, 2].set(1.0)
    >>> cache = density.start(up)
    >>> down = jnp.array([0.0, 0.0, -1.0])
    >>> f"{density.log_ratio(cache, up, jnp.array(0), down):.3f}"
    '-2.040'
    """
    if is_traced((model, temperature)):
        raise expected(
            "a model and a temperature that are known",
            "traced ones",
            "build the density outside of jit and pass it as an argument",
        )
    dtype = default_float_dtype()
    checked = require_temperature(temperature, dtype)
    model = model.with_arrays(dtype)
    if method == "diagonalization":
        return WholeDensity(Partial(_log_density, model, checked))
    if method == "greens_function":
        radius = max(largest_level(model) / float(checked), 1.0)
        poles = fermi_poles(radius, tolerance)
        energies = jnp.asarray(poles.positions, dtype) * checked
        return GreensFunctionDensity(
            model, checked, energies, jnp.asarray(poles.weights, dtype)
        )
    raise expected(
        'method "greens_function" or "diagonalization"', repr(method), "choose one"
    )


def largest_level(model: DoubleExchange) -> float:
    """Return a bound of |E| that holds for all spins."""
    numbers = (model.hopping, model.coupling, model.chemical_potential)
    t, coupling, mu = (abs(float(jnp.asarray(number))) for number in numbers)
    return t * float(adjacency(model.lattice).sum(axis=0).max()) + coupling / 2 + mu


class GreensFunctions(NamedTuple):
    """What is kept beside a configuration."""

    elements: jax.Array  # (K, 2, 2n, 2n): real and imaginary part of G(i w_k)
    log_density: jax.Array  # -F/T


@register_dataclass
@dataclass(frozen=True)
class GreensFunctionDensity:
    """A `LocalDensity`; build it with `double_exchange_density`.

    Parameters
    ----------
    model, temperature
        The electrons.
    energies
        w_k = y_k T, the poles of the Fermi function on the imaginary axis, shape (K,).
    weights
        c_k, shape (K,).
    """

    model: DoubleExchange
    temperature: jax.Array
    energies: jax.Array
    weights: jax.Array

    @jax.jit
    def start(self, spins: jax.Array) -> GreensFunctions:
        """Diagonalize once, and invert at each energy."""
        levels, vectors = jnp.linalg.eigh(self.model.matrix(spins))
        inverse = 1 / jax.lax.complex(
            jnp.broadcast_to(-levels, (self.energies.size, levels.size)),
            jnp.broadcast_to(self.energies[:, None], (self.energies.size, levels.size)),
        )
        elements = (vectors[None] * inverse[:, None, :]) @ vectors.conj().T[None]
        free_energy = free_energy_of_levels(levels, self.temperature)
        return GreensFunctions(
            jnp.stack([elements.real, elements.imag], axis=1),
            -free_energy / self.temperature,
        )

    @jax.jit
    def log_ratio(
        self,
        cache: GreensFunctions,
        spins: jax.Array,
        site: jax.Array,
        new_spin: jax.Array,
    ) -> jax.Array:
        """Return -(F' - F) / T from the blocks of one site."""
        change = self._change(spins, site, new_spin)
        return self._log_ratio(_factor(_block(cache.elements, site), change))

    @jax.jit
    def move(
        self,
        cache: GreensFunctions,
        spins: jax.Array,
        site: jax.Array,
        new_spin: jax.Array,
    ) -> GreensFunctions:
        """Add the product of rank two to each Green's function."""
        change = self._change(spins, site, new_spin)
        columns = _complex(_pair(cache.elements, site, axis=3))  # (K, 2n, 2)
        rows = _complex(_pair(cache.elements, site, axis=2))  # (K, 2, 2n)
        factor = _factor(_block(cache.elements, site), change)
        left = _times(columns, _times(_inverse(factor), change))
        return GreensFunctions(
            _with_product(cache.elements, left, rows),
            cache.log_density + self._log_ratio(factor),
        )

    def log_density(self, cache: GreensFunctions, spins: jax.Array) -> jax.Array:
        """Return -F/T as kept: that of the start, and the ratios since."""
        del spins
        return cache.log_density

    def _change(
        self, spins: jax.Array, site: jax.Array, new_spin: jax.Array
    ) -> jax.Array:
        """Return Delta, shape (1, 2, 2)."""
        old_spin = spins.reshape(-1, 3)[site]
        field = jnp.asarray(self.model.coupling) / 2
        return pauli(field * (new_spin - old_spin))[None]

    def _log_ratio(self, factor: jax.Array) -> jax.Array:
        determinant = _determinant(factor)
        squares = determinant.real**2 + determinant.imag**2
        return self.weights @ jnp.log(squares) / 4


def _log_density(
    model: DoubleExchange, temperature: jax.Array, spins: jax.Array
) -> jax.Array:
    return -model.free_energy(spins, temperature) / temperature


def _pair(elements: jax.Array, site: jax.Array, *, axis: int) -> jax.Array:
    """Return the two rows or columns of a site."""
    return jax.lax.dynamic_slice_in_dim(elements, 2 * site, 2, axis=axis)


def _block(elements: jax.Array, site: jax.Array) -> jax.Array:
    """Return G_ii at each energy, shape (K, 2, 2)."""
    return _complex(_pair(_pair(elements, site, axis=2), site, axis=3))


def _complex(parts: jax.Array) -> jax.Array:
    return jax.lax.complex(parts[:, 0], parts[:, 1])


def _factor(block: jax.Array, change: jax.Array) -> jax.Array:
    """Return D = 1 - Delta G_ii, shape (K, 2, 2)."""
    return jnp.eye(2, dtype=block.dtype)[None] - _times(change, block)


def _determinant(matrix: jax.Array) -> jax.Array:
    return matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] * matrix[:, 1, 0]


def _inverse(matrix: jax.Array) -> jax.Array:
    """Return the inverse of 2 x 2 matrices, shape (K, 2, 2)."""
    adjugate = jnp.stack(
        [
            jnp.stack([matrix[:, 1, 1], -matrix[:, 0, 1]], axis=-1),
            jnp.stack([-matrix[:, 1, 0], matrix[:, 0, 0]], axis=-1),
        ],
        axis=-2,
    )
    return adjugate / _determinant(matrix)[:, None, None]


def _times(left: jax.Array, right: jax.Array) -> jax.Array:
    """Multiply (..., m, 2) by (..., 2, n) in one loop, without a call of a library."""
    first = left[:, :, 0][:, :, None] * right[:, 0][:, None, :]
    return first + left[:, :, 1][:, :, None] * right[:, 1][:, None, :]


def _with_product(elements: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    """Add complex (K, m, 2) times (K, 2, m) to real and imaginary part, (K, 2, m, m).

    In one loop over the elements, which stay in place: matrix products of so small a
    rank take three times as long.
    """
    columns = jnp.concatenate([left.real, left.imag], axis=2)  # (K, m, 4)
    rows = jnp.stack(
        [
            jnp.concatenate([right.real, -right.imag], axis=1),
            jnp.concatenate([right.imag, right.real], axis=1),
        ],
        axis=1,
    )  # (K, 2, 4, m)
    # Without it XLA computes the factors anew for each element.
    columns, rows = jax.lax.optimization_barrier((columns, rows))
    for k in range(4):
        elements = elements + columns[:, None, :, k, None] * rows[:, :, k, None, :]
    return elements
