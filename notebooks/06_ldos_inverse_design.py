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
# # Which impurities make this map?
#
# A scanning tunneling microscope sees the local density of states
#
# $$
# \rho_i(E) = -\frac{1}{\pi} \mathrm{Im}\, G_{ii}(E + i \eta), \qquad
# G(z) = (z - H)^{-1} .
# $$
#
# From the potentials of all sites to the map is one call. Here is the way back: a map
# is given, and the potentials are looked for, by the derivative of the whole map with
# respect to all potentials.

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
from physml.greens_functions import greens_function, local_density_of_states
from physml.hamiltonians import impurity_potential, tight_binding
from physml.lattices import chain
from physml.pullbacks import check_pullback

physml.enable_x64()

# The scripts lie beside the package in a clone.
sys.path.insert(0, str(Path(physml.__file__).parents[1] / "experiments"))
import ldos_inverse_design

# %% [markdown]
# ## The derivative
#
# $dG = G\, dH\, G$, so that $\partial G_{ii} / \partial \epsilon_k = G_{ik} G_{ki}$:
# a whole row of $G$ for each element. The pullback of `greens_function` doesn't compute
# these rows. It sums over all energies first and needs, for any number of energies, the
# work of a few runs of the forward (`docs/derivations/greens_function.md`).

# %%
lattice, site = chain(30), 12
z = jnp.linspace(-3, 3, 20) + 0.2j


def element(potential):
    operator = tight_binding(lattice, potential=potential, boundary="open")
    return greens_function(operator, z, column=site).value


potential = impurity_potential(lattice, [15], 2.0)
weight = jax.random.normal(jax.random.key(0), z.shape)
gradient = jax.grad(lambda p: jnp.sum(weight * element(p).imag))(potential)

operator = tight_binding(lattice, potential=potential, boundary="open")
matrix = operator.to_sparse().toarray()
inverse = np.linalg.inv(np.asarray(z)[:, None, None] * np.eye(30) - matrix)
exact = np.asarray(weight) @ (inverse[:, site] * inverse[:, :, site]).imag
print("largest error", np.abs(gradient - exact).max())
assert np.abs(gradient - exact).max() < 1e-8
print(check_pullback(element, potential, directions=1, relative_tolerance=1e-8))

# %%
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.plot(exact, "o", fillstyle="none", label="sum of $G_{ik} G_{ki}$, dense")
axes.plot(gradient, "x", label="pullback")
axes.set_xlabel("site k")
axes.set_ylabel("derivative with respect to\n$\\epsilon_k$ (1 / energy$^2$)")
axes.legend()
plt.show()

# %% [markdown]
# ## Why the broadening has to fall step by step
#
# One impurity on a chain, and how far the map moves with its potential. With narrow
# levels the difference is flat as soon as the bound states of both no longer overlap:
# from there no gradient leads back. A broad map has one valley.

# %%
energies = jnp.linspace(-6, 6, 121)
strengths = jnp.linspace(-4, 4, 61)


def densities(strength, broadening):
    operator = tight_binding(
        lattice, potential=impurity_potential(lattice, [15], strength), boundary="open"
    )
    return local_density_of_states(
        operator, energies, broadening, sites=[15], method="dense"
    ).values


figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
for broadening in (0.05, 0.4, 1.6):
    given = densities(2.0, broadening)

    def difference(strength, broadening=broadening, given=given):
        return jnp.mean((densities(strength, broadening) - given) ** 2)

    losses = jax.jit(lambda s, f=difference: jax.lax.map(f, s))(strengths)
    axes.plot(strengths, losses / losses.max(), label=f"broadening {broadening}")
axes.axvline(2, color="0.6", linewidth=0.8)
axes.set_xlabel("potential of the impurity (units of the hopping)")
axes.set_ylabel("difference of the maps\n(share of the largest)")
axes.legend()
plt.show()

# %% [markdown]
# ## The search
#
# The experiment looks for the potentials of *all* sites, from random ones, and halves
# the broadening from stage to stage down to that of the given map. `--lattice square`
# does the same on a square lattice.

# %%
configuration = ldos_inverse_design.LdosInverseDesignConfiguration.quick_defaults()
ldos_inverse_design.run_inverse_design(configuration)
folder = max(Path("runs").glob("ldos_inverse_design-*"))
result = json.loads((folder / "result.json").read_text())
print("largest error of a potential", result["max_error"])
assert result["max_error"] < 1e-8

# %%
Image(folder / "maps.png", width=900)

# %%
Image(folder / "potentials.png", width=700)

# %%
Image(folder / "convergence.png", width=700)
