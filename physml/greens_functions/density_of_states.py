r"""The density of states of large systems by the kernel polynomial method.

.. math:: \rho(E) = \frac1n \operatorname{tr} \delta(E - H)
          \approx \frac{1}{n R} \sum_{r=1}^{R} \langle v_r|\delta(E - H)|v_r\rangle

with random vectors whose elements have absolute value one, so that each has the norm of
n sites: what is added up has the trace as its mean, and the spread over the vectors is
its error. Energies have one unit, and rho its inverse: over all energies there is one
state for each site.

R. N. Silver and H. Roder, Int. J. Mod. Phys. C 5, 735 (1994).
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import RunFailure, expected
from physml.operators import LinearOperator, as_operator, require_hermitian
from physml.parallel import SERIAL, Communicator, Divided, item_keys
from physml.pytrees import register_dataclass
from physml.solvers.kernel_polynomial import (
    EXCESS,
    chebyshev_density,
    chebyshev_moments,
    jackson_kernel,
    lorentz_kernel,
)
from physml.solvers.spectral_interval import SpectralInterval, spectral_interval

KernelName = Literal["jackson", "lorentz"]
KERNELS = {"jackson": jackson_kernel, "lorentz": lorentz_kernel}
BATCH_ELEMENTS = 2**24  # of the random vectors that are worked on together


@register_dataclass
@dataclass(frozen=True)
class DensityOfStates:
    """States for each site and unit of energy."""

    energies: jax.Array  # (num_energies,)
    values: jax.Array  # (num_energies,)
    standard_error: jax.Array  # of the random vectors alone, (num_energies,)
    moments: jax.Array  # of each vector, (num_vectors, num_moments)
    interval: SpectralInterval


def density_of_states(
    operator: Any,
    energies: Any,
    *,
    num_moments: int = 512,
    num_vectors: int = 16,
    kernel: KernelName = "jackson",
    key: jax.Array | None = None,
    communicator: Communicator = SERIAL,
) -> DensityOfStates:
    """Return the total density of states, smoothed by a kernel, with its error.

    Parameters
    ----------
    operator
        H, Hermitian, shape (n, n): anything that `physml.operators.as_operator` takes.
    energies
        Real, shape (num_energies,).
    num_moments
        N: the Jackson kernel has a width of about pi / N times half the band width.
    num_vectors
        R >= 2; the error falls like 1 / sqrt(R n).
    kernel
        "jackson", nearly Gaussian, or "lorentz", for what shall look like a resolvent.
    key
        Of the vectors, a fixed one by default. Vector r is the same on any number of
        ranks.
    communicator
        The ranks over which the vectors are divided.

    Raises
    ------
    ValueError
        For an operator that is not Hermitian, wrong shapes and numbers.
    RunFailure
        If the spectrum was not inside of the interval that was found for it.

    Examples
    --------
    >>> import numpy as np
    >>> chain = np.eye(200, k=1) + np.eye(200, k=-1)
    >>> density = density_of_states(chain, [0.0], num_moments=64)
    >>> bool(abs(density.values[0] - 1 / (2 * np.pi)) < 3 * density.standard_error[0])
    True
    """
    operator = as_operator(operator)
    energies = _checked_energies(energies)
    _require_options(num_moments, num_vectors, kernel)
    require_hermitian(operator)
    interval = spectral_interval(operator)
    vectors = communicator.divide(np.arange(num_vectors))
    moments = _moments(
        operator,
        vectors,
        jax.random.key(0) if key is None else key,
        interval,
        num_moments=num_moments,
        num_vectors=num_vectors,
        communicator=communicator,
    )
    _require_inside(communicator.fetch(moments))
    weights = KERNELS[kernel](num_moments)
    densities = chebyshev_density(moments, energies, interval, weights)
    error = jnp.std(densities, axis=0, ddof=1) / np.sqrt(num_vectors)
    return DensityOfStates(energies, jnp.mean(densities, 0), error, moments, interval)


@partial(jax.jit, static_argnames=("num_moments", "num_vectors", "communicator"))
def _moments(
    operator: LinearOperator,
    vectors: Divided,
    key: jax.Array,
    interval: SpectralInterval,
    *,
    num_moments: int,
    num_vectors: int,
    communicator: Communicator,
) -> jax.Array:
    """Return the moments of all vectors, divided by n, (num_vectors, num_moments)."""

    def program(
        operator: LinearOperator,
        vectors: Divided,
        key: jax.Array,
        interval: SpectralInterval,
    ) -> jax.Array:
        def of_one(key: jax.Array) -> jax.Array:
            vector = _random_phases(key, operator)[None]
            return chebyshev_moments(
                operator, vector, interval, num_moments=num_moments
            )[0]

        keys = item_keys(key, vectors.values)
        batch = max(1, min(len(keys), BATCH_ELEMENTS // operator.size))
        found = jax.lax.map(of_one, keys, batch_size=batch)
        return communicator.gather(found / operator.size, num_vectors)

    return communicator.spmd(program)(operator, vectors, key, interval)


def _random_phases(key: jax.Array, operator: LinearOperator) -> jax.Array:
    """Return signs, or phases for a complex operator."""
    shape = (operator.size,)
    if not np.issubdtype(operator.dtype, np.complexfloating):
        return jax.random.rademacher(key, shape, operator.dtype)
    real = jnp.finfo(operator.dtype).dtype
    angle = jax.random.uniform(key, shape, real, 0, 2 * np.pi)
    return jax.lax.complex(jnp.cos(angle), jnp.sin(angle)).astype(operator.dtype)


def _checked_energies(energies: Any) -> jax.Array:
    array = jnp.asarray(energies, float)
    if array.ndim != 1 or not array.size or not np.isfinite(array).all():
        cure = "pass a list of finite numbers"
        raise expected("energies of shape (num_energies,)", f"{energies}", cure)
    return array


def _require_options(num_moments: int, num_vectors: int, kernel: str) -> None:
    if num_moments < 2:
        raise expected("num_moments >= 2", num_moments, "512 is the default")
    if num_vectors < 2:
        cure = "one vector alone has no error"
        raise expected("num_vectors >= 2", num_vectors, cure)
    if kernel not in KERNELS:
        raise expected(" or ".join(KERNELS), repr(kernel), "choose one of the two")


def _require_inside(moments: Any) -> None:
    largest = float(np.abs(np.asarray(moments)).max())
    if not largest <= 1 + EXCESS:
        raise RunFailure(
            f"Expected moments of at most 1, got {largest:.3g}: the spectrum reaches "
            "beyond the interval that 40 Lanczos steps have found; give another key."
        )
