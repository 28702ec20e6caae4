# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The Mott transition
#
# In infinite dimensions the half-filled Hubbard model is one interacting site in a bath
# that makes the site's own Green's function again. On the Bethe lattice with half
# bandwidth $D$
#
# $$ \Delta(i\omega) = \frac{D^2}{4} G(i\omega) . $$
#
# Each iteration fits a bath of a few sites and diagonalizes the impurity exactly.

# %%
import json
import sys
from pathlib import Path

import jax.numpy as jnp
from IPython.display import Image

import physml
from physml.dynamical_mean_field import Bath, half_filled_impurity, solve_impurity

physml.enable_x64()

# The scripts lie beside the package in a clone.
sys.path.insert(0, str(Path(physml.__file__).parents[1] / "experiments"))
import mott_transition as experiment

# %% [markdown]
# ## One impurity
#
# With one bath site at zero the ground state is a singlet,
# $E_0 = -U/4 - \sqrt{(U/4)^2 + 4 V^2}$.

# %%
bath = Bath(jnp.zeros(1), jnp.full(1, 0.5))
solution = solve_impurity(half_filled_impurity(2.0, bath), jnp.array([0.1j]))
exact = -0.5 - (0.25 + 4 * 0.25) ** 0.5
print(f"E_0 = {solution.energy:.12f}, exact {exact:.12f}")
assert abs(solution.energy - exact) < 1e-12

# %% [markdown]
# ## Metal and insulator
#
# The metal is followed upwards in $U$, the insulator downwards. In between both exist.
# Three sites show what happens; the script without `--quick` takes seven.
#
# The bath is fitted on Matsubara frequencies $(2n + 1) \pi / \beta$ with a fictitious
# $\beta$, for $T = 0$. What lies below the first, $\omega_0$, it cannot resolve: a
# quasiparticle peak, of width $Z D$, that is narrower counts as none.

# %%
experiment.run_mott_transition(experiment.MottConfiguration.quick_defaults())
folder = max(Path("runs").glob("mott_transition-*"))
result = json.loads((folder / "result.json").read_text())
at = {
    branch: next(row for row in result[branch] if row["interaction"] == 2.6)
    for branch in ("metal", "insulator")
}
for branch, row in at.items():
    print(f"{branch}: Z = {row['quasiparticle_weight']:.4f} at U = 2.6 D")
assert at["metal"]["is_metallic"]
assert not at["insulator"]["is_metallic"]

# %%
Image(folder / "transition.png", width=700)

# %% [markdown]
# Seven sites: the insulator ends between $U = 2.3$ and $2.4\,D$, the metal between
# $3.0$ and $3.1\,D$ at $\beta D = 200$. Past its end $Z$ becomes proportional to
# $\omega_0$ and vanishes with it. From how $Z$ falls with $\beta$ the metal of infinite
# $\beta$ ends near $2.9\,D$: see `benchmarks/mott_transition.md`.
#
# The spectrum of the lattice has a peak of quasiparticles between two Hubbard bands,
# which a few sites show as a few lines each.

# %%
Image(folder / "spectra.png", width=700)

# %% [markdown]
# The self-energy of a metal vanishes at zero frequency, that of a Mott insulator
# diverges.

# %%
Image(folder / "self_energy.png", width=700)
