r"""Step sizes that adapt during burn-in and are frozen after it.

Robbins-Monro on the logarithm, in each chain by itself: after sweep n = 0, 1, ... with
the mean acceptance a and the target a*,

.. math:: \log\epsilon \leftarrow \log\epsilon + (n + 1)^{-0.6} (a - a^*) .

A step size that follows the chain's past makes it no Markov chain; frozen, it is one,
and what is measured after burn-in is exact. Chains do not share a step size, so that a
chain does not depend on which others run beside it.

Reference: C. Andrieu, J. Thoms, Stat. Comput. 18, 343 (2008).
"""

import jax
import jax.numpy as jnp

from physml.samplers.kernel import StepSize

GAIN_EXPONENT = -0.6  # between -1 and -1/2: it converges, and forgets its start


def adapt(
    step_sizes: dict[str, jax.Array],
    rules: dict[str, StepSize],
    acceptance: dict[str, jax.Array],
    sweep: jax.Array,
    num_burn_in: jax.Array,
) -> dict[str, jax.Array]:
    """Return the step sizes for the next sweep.

    Parameters
    ----------
    step_sizes
        Those of this sweep, of any shape: one for each chain.
    rules
        By the same names.
    acceptance
        Of this sweep, by the same names, and maybe others.
    sweep
        The number of this sweep, from 0.
    num_burn_in
        From this sweep on nothing changes.
    """
    is_burn_in = sweep < num_burn_in

    def adapted(name: str, rule: StepSize) -> jax.Array:
        size = step_sizes[name]
        if rule.target is None:
            return size
        gain = (sweep.astype(size.dtype) + 1) ** GAIN_EXPONENT
        error = acceptance[name].astype(size.dtype) - rule.target
        new = jnp.minimum(size * jnp.exp(gain * error), rule.largest)
        return jnp.where(is_burn_in, new, size)

    return {name: adapted(name, rule) for name, rule in rules.items()}
