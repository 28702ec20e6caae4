"""The Mott transition against the resolution of the bath's fit and its sites.

python benchmarks/mott_transition.py --sites 5
python benchmarks/mott_transition.py --sites 6 --insulator

The fit of a bath sees nothing below its first frequency omega_0 = pi / beta. For each U
(units of D) the quasiparticle weight Z at some beta, frequencies up to 8 D, and the
exponent of Z ~ beta^-x between neighboring beta. In a metal x falls to 0 as beta grows;
where the metal is one of the resolution alone Z is proportional to omega_0, x rises to
1. The metal of infinite beta ends where x does neither.
"""

import argparse
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from reporting import markdown_table

import physml
from physml.dynamical_mean_field import (
    BetheLattice,
    insulating_start,
    iterate,
    matsubara_frequencies,
    metallic_start,
)

METAL = (2.0, 2.4, 2.6, 2.7, 2.8, 2.9, 3.0, 3.1, 3.2)
INSULATOR = (2.6, 2.5, 2.45, 2.4, 2.35, 2.3)
CUTOFF = 8.0  # the largest frequency, in units of D


def lattice(interaction: float, beta: float) -> BetheLattice:
    """Return the model in units of D."""
    number = round(CUTOFF * beta / (2 * np.pi))
    omega = jnp.asarray(matsubara_frequencies(beta, number))
    return BetheLattice(jnp.asarray(interaction), omega, jnp.asarray(1.0))


def weights(sites: int, beta: float, is_insulator: bool) -> Iterator[float]:
    """Yield Z of one U after the other, each from the mean field before."""
    first = insulating_start if is_insulator else metallic_start
    interactions = INSULATOR if is_insulator else METAL
    state = first(lattice(interactions[0], beta), sites)
    for interaction in interactions:
        model = lattice(interaction, beta)
        state = iterate(model, state.restarted(), max_iterations=1000)
        is_one = state.impurity_converged & (state.change <= 1e-6)
        yield float(state.quasiparticle_weight(model)) if is_one else np.nan


def main() -> None:
    """Print a table of one number of sites."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, default=5)
    parser.add_argument("--insulator", action="store_true", help="follow it downwards")
    parser.add_argument("--betas", type=float, nargs="+", default=(100.0, 200.0, 400.0))
    options = parser.parse_args()
    physml.enable_x64()
    z = np.array(
        [[*weights(options.sites, b, options.insulator)] for b in options.betas]
    )
    steps = np.diff(np.log(options.betas))[:, None]
    exponents = -np.diff(np.log(z), axis=0) / steps
    interactions = INSULATOR if options.insulator else METAL
    headings = ["U / D"] + [f"Z, beta D = {beta:g}" for beta in options.betas]
    headings += [f"x from {beta:g}" for beta in options.betas[:-1]]
    rows = [
        [f"{u:g}", *(f"{v:.5f}" for v in values), *(f"{x:.2f}" for x in powers)]
        for u, values, powers in zip(interactions, z.T, exponents.T, strict=True)
    ]
    branch = "insulator" if options.insulator else "metal"
    print(f"The {branch} in a bath of {options.sites} sites\n")
    print(markdown_table(headings, rows))


if __name__ == "__main__":
    main()
