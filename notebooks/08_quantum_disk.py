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
# # A particle on a disc
#
# $$
# H = \tfrac12 \left( -\partial_r^2 - \tfrac1r \partial_r
#     + \frac{(-i \partial_\theta - \alpha)^2}{r^2} \right) + V(r),
# \qquad \psi(R, \theta) = 0 .
# $$
#
# Bessel functions that vanish at the wall are the basis; a flux $\alpha$ through the
# center makes the order of those of angular momentum $m$ equal to $|m - \alpha|$.

# %%
import json
import sys
from pathlib import Path

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image

import physml
from physml.hamiltonians import FreeDisk, quantum_disk
from physml.pullbacks import check_pullback
from physml.training import StopRules, minimize, optimizer_stages

physml.enable_x64()

# The scripts lie beside the package in a clone.
sys.path.insert(0, str(Path(physml.__file__).parents[1] / "experiments"))
import quantum_disk as experiment

# %% [markdown]
# ## The harmonic disc
#
# The exact levels are roots of a confluent hypergeometric function.

# %%
experiment.run_quantum_disk(experiment.DiskConfiguration())
folder = max(Path("runs").glob("quantum_disk-*"))
result = json.loads((folder / "result.json").read_text())
print("largest error of a level", result["max_error"])
assert result["max_error"] < 1e-10

# %%
Image(folder / "densities.png", width=700)

# %% [markdown]
# ## A flux through the center
#
# No field acts on the particle, and yet the levels move (Aharonov and Bohm, 1959). A
# whole flux quantum moves each angular momentum by one. At half a quantum the orders
# are halves, Bessel functions are sines, and the lowest level is $\pi^2 / 2$, twice.

# %%
momenta, fluxes = (-1, 0, 1, 2), np.linspace(0, 1, 21)


def lowest(flux):
    disk = quantum_disk(angular_momenta=momenta, num_functions=5, flux=flux)
    return disk.radial_levels(FreeDisk())[:, 0]


levels = np.stack([lowest(flux) for flux in fluxes])
assert np.allclose(lowest(0.5)[1:3], np.pi**2 / 2, rtol=1e-14)
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.plot(fluxes, levels, label=[f"m = {m}" for m in momenta])
axes.set_xlabel("flux (h/q)")
axes.set_ylabel("lowest level (hbar = m = 1)")
axes.legend(loc="center left")
plt.show()

# %% [markdown]
# ## A potential with prescribed levels
#
# Which potential $V = a + b \cos \pi r + c \cos 2 \pi r$ has the lowest levels 6, 12
# and 18 of $m = 0, 1, 2$, a ladder as that of an oscillator without wall? The
# derivatives of levels and densities come from a hand-written pullback of the
# eigenproblem (`physml/solvers/eigenpairs.py`).

# %%
disk = quantum_disk(num_functions=30)
wanted = jnp.array([6.0, 12.0, 18.0])


def potential_of(parameters):
    a, b, c = parameters
    return lambda r: a + b * jnp.cos(jnp.pi * r) + c * jnp.cos(2 * jnp.pi * r)


def lowest_levels(parameters):
    return disk.radial_levels(potential_of(parameters))[:, 0]


def loss(parameters):
    return jnp.sum((lowest_levels(parameters) - wanted) ** 2)


points = np.array([0.1, 0.4, 0.7]), np.zeros(3)
print(
    check_pullback(
        lambda p: disk.densities(disk.radial_states(potential_of(p), 1), *points),
        jnp.array([1.0, -2.0, 0.5]),
    )
)

# %%
found = minimize(
    loss,
    jnp.zeros(3),
    optimizer_stages("lbfgs", num_steps=300),
    stop_rules=StopRules(target=1e-10),
)
print("parameters", found.parameters, "levels", lowest_levels(found.parameters))
assert np.allclose(lowest_levels(found.parameters), wanted, rtol=0, atol=1e-8)

# %%
states = disk.radial_states(potential_of(found.parameters), 1)
r = np.linspace(0, 1, 200)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
left.plot(r, potential_of(found.parameters)(r), color="black")
for energy in wanted:
    left.axhline(float(energy), linewidth=0.8)
left.set_xlabel("r (length)")
left.set_ylabel("energy (hbar = m = 1)")
left.set_title("the potential found, and its levels")
for m, density in enumerate(disk.densities(states, r, 0.0)[:, 0]):
    right.plot(r, density, label=f"m = {m}")
right.set_xlabel("r (length)")
right.set_ylabel("density (1 / length$^2$)")
right.legend()
plt.show()
