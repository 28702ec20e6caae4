r"""Bessel functions between the center of a disc and its wall, and integrals of them.

The functions of order nu >= 0, any real number,

.. math:: \phi_n(r) = \frac{\sqrt 2}{R \, |J_{\nu+1}(j_n)|} J_\nu(j_n r / R),
          \qquad J_\nu(j_n) = 0, \quad n = 1, 2, \ldots,

vanish at the wall r = R, are orthonormal, :math:`\int_0^R \phi_n \phi_m \, r \, dr =
\delta_{nm}`, and satisfy :math:`-\phi'' - \phi'/r + (\nu/r)^2 \phi = (j_n/R)^2 \phi`.

Integrals are sums over the points of Gauss's rule in s, r = R s^2: there the r^(2 nu)
of a fractional order is smooth enough not to be seen. The functions are tabulated once,
by SciPy; derivatives with respect to a potential need none of theirs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import jv, jvp, roots_legendre

from physml.failures import expected
from physml.precision import default_float_dtype
from physml.pytrees import register_dataclass
from physml.tracing import is_traced

NEWTON_STEPS = 8  # from within half a unit; five reach the last digit
POINTS_PER_FUNCTION = 4  # > pi: the product of the two highest has 2 pi N radians
MORE_POINTS = 32  # for the potential


@partial(register_dataclass, static=("orders", "radius"))
@dataclass(frozen=True)
class BesselBasis:
    """Bessel functions of several orders on the points of one rule.

    Made by `bessel_basis`.
    """

    orders: tuple[float, ...]
    radius: float
    zeros: jax.Array  # j_n, (num_orders, num_functions)
    radii: jax.Array  # (num_points,), a length
    weights: jax.Array  # (num_points,): sum(weights * f) is the integral of f r dr
    functions: jax.Array  # (num_orders, num_functions, num_points), 1 / length

    def at(self, r: np.ndarray) -> np.ndarray:
        """Return the functions at any radii; zero beyond the wall.

        Parameters
        ----------
        r
            Known numbers, also inside of jit; any shape.

        Returns
        -------
        np.ndarray
            Shape (num_orders, num_functions, *r.shape).
        """
        if is_traced(r):
            raise expected(
                "radii that are known numbers",
                "radii that are traced",
                "make them outside of jit, grad and vmap",
            )
        r = np.asarray(r, float)
        zeros = np.asarray(self.zeros, float)
        table = _functions(self.orders, zeros, self.radius, r.ravel())
        table = np.where(r.ravel() < self.radius, table, 0.0)
        table = table.reshape(*self.zeros.shape, *r.shape)
        return table.astype(self.functions.dtype)

    def with_points(self, num_points: int) -> "BesselBasis":
        """Return the same functions on the points of another rule."""
        return bessel_basis(
            self.orders, self.zeros.shape[1], self.radius, num_points=num_points
        )


def bessel_basis(
    orders: Sequence[float],
    num_functions: int,
    radius: float = 1.0,
    *,
    num_points: int | None = None,
) -> BesselBasis:
    """Tabulate the first Bessel functions of some orders on the points of a rule.

    Parameters
    ----------
    orders
        nu >= 0, not necessarily integers.
    num_functions
        Of each order.
    radius
        R, a length.
    num_points
        Of Gauss's rule. By default enough for smooth potentials, 4 num_functions + 32.

    Raises
    ------
    ValueError
        If an order is negative or the radius or a number is not positive.

    Examples
    --------
    >>> import jax.numpy as jnp, physml
    >>> physml.enable_x64()
    >>> basis = bessel_basis([0.5], 3)
    >>> [round(float(zero / jnp.pi), 12) for zero in basis.zeros[0]]
    [1.0, 2.0, 3.0]
    >>> round(float(basis.weights @ basis.functions[0, 1] ** 2), 12)
    1.0
    """
    orders = tuple(float(order) for order in orders)
    if not orders or not all(0 <= order < np.inf for order in orders):
        raise expected("orders >= 0", list(orders), "choose others")
    if not 0 < radius < np.inf:
        raise expected("a radius > 0", radius, "choose a positive length")
    if num_functions < 1:
        raise expected("num_functions >= 1", num_functions, "choose 20 or more")
    if num_points is None:
        num_points = POINTS_PER_FUNCTION * num_functions + MORE_POINTS
    zeros = np.stack([bessel_zeros(order, num_functions) for order in orders])
    radii, weights = gauss_rule(radius, num_points)
    functions = _functions(orders, zeros, radius, radii)
    arrays = (zeros, radii, weights, functions)
    dtype = default_float_dtype()
    return BesselBasis(orders, float(radius), *(jnp.asarray(x, dtype) for x in arrays))


def bessel_zeros(order: float, num_zeros: int) -> np.ndarray:
    """Return the first positive zeros of J_nu, nu >= 0 any real number.

    The first lies beyond nu and all are more than 3 apart, so that each is a change of
    sign between neighbors on a grid of spacing 1; Newton's method does the rest.

    Examples
    --------
    >>> [round(float(zero), 10) for zero in bessel_zeros(0, 2)]
    [2.4048255577, 5.5200781103]
    """
    grid = order + np.arange(np.pi * (num_zeros + 1))  # j_n < nu + pi n + ...
    while np.count_nonzero(_changes_sign(jv(order, grid))) < num_zeros:
        grid = np.arange(order, grid[-1] + order / 2 + 4)
    values = jv(order, grid)
    first = np.flatnonzero(_changes_sign(values))[:num_zeros]
    zeros = grid[first] + values[first] / (values[first] - values[first + 1])
    for _ in range(NEWTON_STEPS):
        zeros = zeros - jv(order, zeros) / jvp(order, zeros)
    return zeros


def _changes_sign(values: np.ndarray) -> np.ndarray:
    return np.signbit(values[1:]) != np.signbit(values[:-1])


def gauss_rule(radius: float, num_points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points and weights for integrals of f(r) r dr from 0 to the radius."""
    if num_points < 1:
        raise expected("num_points >= 1", num_points, "leave the default")
    x, weights = roots_legendre(num_points)
    s = (1 + x) / 2
    radii = radius * s**2
    return radii, radii * radius * s * weights


def _functions(
    orders: tuple[float, ...], zeros: np.ndarray, radius: float, r: np.ndarray
) -> np.ndarray:
    """Return phi_n(r), shape (num_orders, num_functions, num_radii)."""
    order = np.asarray(orders)[:, None]
    norm = np.sqrt(2) / (radius * np.abs(jv(order + 1, zeros)))
    return norm[..., None] * jv(order[..., None], zeros[..., None] * (r / radius))
