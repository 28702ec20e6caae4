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
# Levels start from vector fitting, which almost solves the problem from anywhere; then
# the distance is minimized over the levels, the squared couplings dropping out by
# variable projection.

# %%
import json
import sys
from pathlib import Path

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image

import physml
from physml.dynamical_mean_field import (
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
# ## The error falls by a factor near 40 for each site

# %%
numbers = [2, 4, 8, 12]
errors = [fit_bath(frequencies, hybridization, n).max_error for n in numbers]
plt.semilogy(numbers, errors, "o-")
plt.xlabel("bath sites")
plt.ylabel("largest error (energy)")
plt.show()
assert errors[-1] < 5e-15

# %% [markdown]
# ## A hidden bath is found again

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
