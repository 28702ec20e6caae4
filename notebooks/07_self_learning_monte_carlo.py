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
# # Let a learned model propose
#
# Classical spins of length 1, coupled to electrons that hop between them:
#
# $$
# H = -t \sum_{\langle ij \rangle \sigma} (c^\dagger_{i\sigma} c_{j\sigma} + h.c.)
# + \frac{J}{2} \sum_i \mathbf S_i \cdot c^\dagger_i \boldsymbol\sigma c_i - \mu N .
# $$
#
# A configuration of spins has the weight $e^{-F/T}$ with the free energy $F$ of the
# electrons, which takes a diagonalization. *Self-learning* Monte Carlo proposes a whole
# new configuration with a cheap effective model and accepts with probability
#
# $$
# \min\left(1, e^{-[(F' - F) - (F_\mathrm{eff}' - F_\mathrm{eff})]/T}\right) ,
# $$
#
# so that the result is exact, however poor the model is.

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
from physml.hamiltonians import (
    DoubleExchange,
    bond_sums,
    fit_linear,
    random_equivariant_model,
)
from physml.lattices import pair_shells, square
from physml.pullbacks import check_pullback
from physml.samplers import random_configurations

physml.enable_x64()

# The scripts lie beside the package in a clone.
sys.path.insert(0, str(Path(physml.__file__).parents[1] / "experiments"))
import self_learning_monte_carlo

# %% [markdown]
# ## The electrons' free energy, and its derivative
#
# One diagonalization gives $F$ and, by Hellmann and Feynman, $\partial F / \partial
# \mathbf S_i$: the mean spin of the electrons on the site. Degenerate levels are no
# trouble.

# %%
lattice, temperature = square(4, 4), 0.05
exact = DoubleExchange(lattice)
spins = random_configurations(jax.random.key(0), 200, lattice.shape)
free_energies = exact.free_energy(spins, temperature) / temperature
print("F/T of the first:", free_energies[0].item())


def free_energy(spins):
    return exact.free_energy(spins, temperature)


print(check_pullback(free_energy, spins[0], directions=1, relative_tolerance=1e-7))

# %% [markdown]
# ## A model with one coupling for each distance
#
# How far does
# $F_\mathrm{eff} = E_0 - \sum_n J_n \sum_{\langle ij \rangle_n} \mathbf S_i \cdot
# \mathbf S_j$ get? Least squares over random configurations:

# %%
linear = fit_linear(spins, free_energies, lattice, 3)
print("J_n / T:", linear.couplings)
sums = bond_sums(spins, pair_shells(lattice, 1))[:, 0]

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
left.plot(sums, free_energies, ".")
left.set_xlabel(r"$\sum \mathbf{S}_i \cdot \mathbf{S}_j$ over nearest neighbors")
left.set_ylabel("F/T")
right.plot(free_energies, linear(spins), ".")
right.axline((free_energies[0].item(),) * 2, slope=1, color="0.4", linewidth=0.8)
right.set_xlabel("F/T, exact")
right.set_ylabel("F/T, linear model of 3 shells")
plt.show()

# %% [markdown]
# ## A network that knows the symmetries
#
# Layers before the linear model look at block spins around each site and turn every
# spin a little: $A_{ij} = \mathrm{relu}(\mathbf S^Q_i \cdot \mathbf S^K_j / \sqrt 3)$,
# then $\mathbf S \leftarrow (\mathbf S + A \mathbf S^V) / |\ldots|$. A rotation
# of all spins or a translation leaves the energy as it is, for any weights:

# %%
model = random_equivariant_model(jax.random.key(1), linear, block_shells=3)
rotation, _ = jnp.linalg.qr(jax.random.normal(jax.random.key(2), (3, 3)))
turned = jnp.einsum("...j,ij->...i", spins, rotation)
moved = jnp.roll(spins, (1, 2), axis=(1, 2))
for name, others in (("rotation", turned), ("translation", moved)):
    change = jnp.abs(model(others) - model(spins)).max().item()
    print(f"{name}: F/T changes by {change:.1e}")
    assert change < 1e-10

# %% [markdown]
# ## The whole run
#
# Data from the exact model, training, measurements:
# `python experiments/self_learning_monte_carlo.py --quick` does this on 4 x 4 sites.
# Without `--quick` the lattice has 6 x 6, there are more layers and more samples, and a
# second round of training adds configurations that the models themselves visit.

# %%
options = self_learning_monte_carlo.SelfLearningMonteCarloConfiguration
self_learning_monte_carlo.run_self_learning(options.quick_defaults())
folder = max(Path("runs").glob("self_learning_monte_carlo-*"))
result = json.loads((folder / "result.json").read_text())

# %% [markdown]
# How well the models predict $F/T$ on configurations that they have not seen, and how
# often their proposals are accepted:

# %%
Image(folder / "free_energies.png", width=700)

# %%
Image(folder / "scaling.png", width=800)

# %% [markdown]
# All methods sample the same density: what they measure agrees within the errors.

# %%
methods = [result["metropolis"], *result["models"]]
mean, error = (
    np.array([row[f"free_energy_over_temperature{end}"] for row in methods])
    for end in ("", "_error")
)
print("F/T:", *(f"{m:.2f} +- {e:.2f}" for m, e in zip(mean, error, strict=True)))
assert np.all(np.abs(mean - mean[0]) < 5 * np.hypot(error, error[0]))
Image(folder / "observables.png", width=900)

# %% [markdown]
# The point of it all: a proposal of the model forgets the configuration before in a few
# steps, where single spins take many sweeps. `autocorrelation_time` counts steps,
# `effective_samples_per_second` counts time.

# %%
Image(folder / "time_series.png", width=800)
