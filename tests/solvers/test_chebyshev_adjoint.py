"""The pullback through a Chebyshev series: it never hands on a wrong derivative."""

import jax
import jax.numpy as jnp
import numpy as np

from physml.hamiltonians import tight_binding
from physml.lattices import chain
from physml.solvers.chebyshev_adjoint import pull_by_series, resolvent_series
from physml.solvers.resolvent_elements import KRYLOV
from physml.solvers.resolvent_pullback import PullbackProblem
from physml.solvers.spectral_interval import spectral_interval

SIZE = 64


@jax.jit
def pulled(z, share):
    """Return the cotangents of a chain, given a share of the interval of its levels."""
    operator = tight_binding(chain(SIZE), boundary="open")
    interval = spectral_interval(operator)
    interval = interval._replace(half_width=share * interval.half_width)
    cotangent = jnp.ones((1, 1, 1), complex)
    series = resolvent_series(z[None], cotangent, interval)
    problem = PullbackProblem(
        operator,
        shifts=z[None],
        columns=jnp.eye(SIZE)[30:31],
        rows=None,
        cotangent=cotangent,
        tolerance=jnp.array(1e-10),
        max_iterations=99,
        method=KRYLOV,
    )
    return pull_by_series(problem, series, interval).leaves


def is_finite(leaves):
    return all(np.isfinite(leaf).all() for leaf in leaves)


def test_a_wrong_interval_or_an_endless_series_gives_nan():
    assert is_finite(pulled(0.3 + 0.1j, 1.0))
    for wrong in (pulled(0.3 + 0.1j, 0.5), pulled(0.3 + 1e-9j, 1.0)):
        assert not any(np.isfinite(leaf).any() for leaf in wrong)
