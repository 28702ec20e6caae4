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
# # The bath of an impurity
#
# $$
# \Delta(i\omega_n) \approx \sum_l \frac{|V_l|^2}{i\omega_n - \epsilon_l}, \qquad
# \omega_n = (2n + 1) \pi / \beta .
# $$
#
# An impurity in a solid sees its surroundings through the hybridization $\Delta$. Exact
# diagonalization, and a quantum computer, can hold an impurity with a few levels around
# it: which levels $\epsilon_l$ and couplings $V_l$ stand for the rest best? That is a
# least-squares problem with many minima. Levels start from vector fitting, which almost
# solves it from anywhere; then the distance is minimized over the levels, the squared
# couplings dropping out by variable projection. Energies are in any one unit.

# %%
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image

import physml
from physml.dynamical_mean_field import (
    Bath,
    fit_bath,
    matsubara_frequencies,
    semicircular_greens_function,
)

physml.enable_x64()

# The scripts lie beside the package in a clone.
sys.path.insert(0, str(Path(physml.__file__).parents[1] / "experiments"))
import bath_fit as experiment

# %% [markdown]
# ## Ten lines
#
# A semicircular bath of half bandwidth 1 at beta = 20, twenty starts.

# %%
frequencies = matsubara_frequencies(20.0, 56)
hybridization = semicircular_greens_function(1j * jnp.asarray(frequencies))
fit = fit_bath(frequencies, hybridization, 6)
print(fit.bath.levels, fit.bath.couplings)
print("largest error", fit.max_error, "found by", fit.starts_at_best, "of 20 starts")
assert fit.starts_at_best == 20
assert abs(fit.max_error - 2.985e-6) < 1e-9

# %% [markdown]
# ## Each site more makes the error 10 to 60 times smaller

# %%
numbers = [2, 4, 8, 12]
errors = [fit_bath(frequencies, hybridization, n).max_error for n in numbers]
print([f"{error:.1e}" for error in errors])
plt.semilogy(numbers, errors, "o-")
plt.xlabel("bath sites")
plt.ylabel("largest error (energy)")
plt.show()
assert errors[-1] < 5e-15

# %% [markdown]
# ## A hidden bath is found again
#
# The experiment writes levels, couplings and pictures to a folder; from the command
# line: `python experiments/bath_fit.py --target discrete --sites 4`.

# %%
experiment.run_bath_fit(
    experiment.BathConfiguration(target="discrete", hidden_sites=4, sites=4)
)
folder = max(Path("runs").glob("bath_fit-*"))
result = json.loads((folder / "result.json").read_text())
assert np.allclose(result["levels"], result["hidden_levels"], atol=1e-9)
assert result["max_error"] < 1e-12

# %%
Image(folder / "hybridization.png", width=800)

# %%
Image(folder / "spectrum.png", width=600)

# %% [markdown]
# ## Several orbitals
#
# $$
# \Delta_{ab}(i\omega_n) \approx
# \sum_l \frac{V_{la}^* V_{lb}^{}}{i\omega_n - \epsilon_l} .
# $$
#
# Two orbitals that mix, with complex couplings: each level gives a matrix of rank one
# without negative eigenvalues, and so does each level that is found. The phase of a
# level is free; the residues are not.

# %%
v = np.array([[0.4, 0.3j], [0.2, 0.5 - 0.1j], [0.5j, 0.3]])
hidden = Bath(jnp.array([-0.6, 0.1, 0.7]), jnp.asarray(v))
few = matsubara_frequencies(20.0, 24)
fit = fit_bath(few, hidden.hybridization(1j * jnp.asarray(few)), 3, num_starts=4)
print(np.round(fit.bath.levels, 8))
print(np.round(fit.bath.couplings, 8))
assert np.allclose(fit.bath.levels, hidden.levels, atol=1e-10)
assert np.allclose(fit.bath.residues, hidden.residues, atol=1e-10)
assert fit.max_error < 1e-13

# %% [markdown]
# ## In a loop of dynamical mean-field theory
#
# Each turn of the loop gives a new hybridization, and the bath of the impurity follows.
# Often the Weiss field is fitted, with low frequencies counting more, and with a sum
# rule that is known: on the Bethe lattice the squared couplings add up to D² / 4.
# [Notebook 10](10_mott_transition.py) runs that loop.

# %%
fit = fit_bath(
    frequencies,
    hybridization / 4,
    5,
    fitted="weiss_field",
    weights="inverse_frequency",
    particle_hole_symmetric=True,
    sum_rule=0.25,
)
print(fit.bath.levels, fit.bath.couplings, "sum of V^2", fit.bath.sum_rule)
assert abs(fit.bath.sum_rule - 0.25) < 1e-14
assert np.array_equal(fit.bath.levels, -fit.bath.levels[::-1])

# %% [markdown]
# The next turn needs no new starts: `follow` goes to the minimum nearby. Levels and
# couplings are smooth functions of the hybridization there, and have derivatives. How
# do the levels move with the width of the band?


# %%
def levels_of_band(half_bandwidth):
    z = 1j * jnp.asarray(frequencies)
    delta = semicircular_greens_function(z, half_bandwidth)
    return fit.follow(delta / 4).levels


slope = jax.jacfwd(levels_of_band)(1.0)
difference = (levels_of_band(1.001) - levels_of_band(0.999)) / 0.002
print("derivative ", slope)
print("differences", difference)
assert np.allclose(slope, difference, atol=1e-5)
