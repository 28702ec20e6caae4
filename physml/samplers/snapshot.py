"""Where many chains stand, from the first configurations on."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from physml.failures import expected
from physml.parallel import SERIAL, Communicator
from physml.samplers.compiled_chains import Batching, Chains, start_chains
from physml.samplers.kernel import Kernel


class SamplingSnapshot(NamedTuple):
    """Where the chains stand: a pytree of arrays, enough to go on from it exactly."""

    sweep: jax.Array  # how many were done
    chains: Chains


def initial_snapshot(
    kernel: Kernel,
    spins: jax.Array,
    *,
    batching: Batching = "vmap",
    communicator: Communicator = SERIAL,
) -> SamplingSnapshot:
    """Return the snapshot before the first sweep, after checking spins and density.

    `jax.eval_shape(partial(snapshot_of, kernel), spins)` gives its template for reading
    a checkpoint.

    Raises
    ------
    ValueError
        If spins are not unit vectors, or the log density is not a real finite scalar.
    """
    _require_unit_spins(spins)
    _require_real_scalar(kernel, spins)
    state = start_chains(
        communicator.share(kernel),
        communicator.divide(spins),
        num_chains=spins.shape[0],
        batching=batching,
        communicator=communicator,
    )
    densities = np.asarray(communicator.fetch(state).log_density)
    if not np.all(np.isfinite(densities)):
        chain = int(np.argmin(np.isfinite(densities)))
        raise expected(
            "a log density that is finite at the first spins",
            f"{densities[chain]} for chain {chain}",
            "check the density, or start from spins that it allows",
        )
    return _snapshot(kernel, state)


def snapshot_of(kernel: Kernel, spins: jax.Array) -> SamplingSnapshot:
    """Return the snapshot before the first sweep, unchecked: its template, traced.

    Parameters
    ----------
    kernel
        The kernel that will run.
    spins
        Shape (num_chains, n_1, ..., n_d, 3).
    """
    return _snapshot(kernel, jax.vmap(kernel.start)(spins))


def _snapshot(kernel: Kernel, state: Any) -> SamplingSnapshot:
    num_chains, dtype = state.log_density.shape[0], state.log_density.dtype
    step_sizes = {
        name: jnp.full((num_chains,), rule.initial, dtype)
        for name, rule in kernel.step_sizes().items()
    }
    zeros = jnp.zeros((num_chains,), int)
    chains = Chains(jnp.arange(num_chains), state, step_sizes, zeros)
    return SamplingSnapshot(jnp.zeros((), int), chains)


def _require_unit_spins(spins: jax.Array) -> None:
    shape, dtype = jnp.shape(spins), jnp.result_type(spins)
    if len(shape) < 3 or 0 in shape or not jnp.issubdtype(dtype, jnp.floating):
        raise expected(
            "real spins of shape (num_chains, n_1, ..., n_d, 3)",
            f"{dtype} of shape {shape}",
            "give each chain a configuration, see random_configurations",
        )
    error = float(np.max(np.abs(np.linalg.norm(np.asarray(spins), axis=-1) - 1)))
    if not error < np.sqrt(np.finfo(dtype).eps):
        raise expected(
            "spins of unit length",
            f"lengths that differ from 1 by {error:.1e}",
            "divide by jnp.linalg.norm(spins, axis=-1, keepdims=True)",
        )


def _require_real_scalar(kernel: Kernel, spins: jax.Array) -> None:
    shape = jax.eval_shape(kernel.start, spins[0]).log_density
    if shape.shape != () or not jnp.issubdtype(shape.dtype, jnp.floating):
        raise expected(
            "a log density that is a real scalar",
            f"{shape.dtype} of shape {shape.shape}",
            "sum it up, or take the real part",
        )
