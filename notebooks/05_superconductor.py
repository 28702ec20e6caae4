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
# # Superconductors: a strong impurity and a vortex
#
# The quasiparticles of a superconductor are levels of the Bogoliubov-de Gennes matrix
#
# $$
# H = \begin{pmatrix} h - \mu & \Delta \\ \Delta^\dagger & -(h - \mu)^* \end{pmatrix} ,
# $$
#
# which acts on electrons and holes, $2n$ components for $n$ sites. What a microscope
# sees is the electrons' part of the local density of states. Square lattices with open
# edges; energies in units of the hopping, lengths in lattice constants.

# %%
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image

import physml
from physml.greens_functions import local_density_of_states
from physml.hamiltonians import bogoliubov_de_gennes, tight_binding
from physml.lattices import square
from physml.operators import to_sparse

physml.enable_x64()

# The scripts lie beside the package in a clone.
sys.path.insert(0, str(Path(physml.__file__).parents[1] / "experiments"))
import bogoliubov_de_gennes as experiment

# %% [markdown]
# ## The clean superconductor
#
# On a periodic lattice the levels are $\pm \sqrt{\xi_k^2 + \Delta_k^2}$: with pairs on
# the sites (s-wave) there are none below $\Delta$; with pairs on the bonds, + along x
# and - along y (d-wave), $\Delta_k = 2 \Delta_d (\cos k_x - \cos k_y)$ vanishes on the
# diagonals and the density grows like $|E|$.

# %%
length, mu = 16, -0.5
momenta = 2 * np.pi * np.arange(length) / length
kx, ky = np.meshgrid(momenta, momenta, indexing="ij")
xi = -2 * (np.cos(kx) + np.cos(ky)) - mu
electrons = tight_binding(square(length, length))
energies = np.linspace(-2, 2, 121)
figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
for name, gaps, gap_k in (
    ("s-wave", {"s_wave": 0.6}, 0.6),
    ("d-wave", {"d_wave": 0.3}, 0.6 * (np.cos(kx) - np.cos(ky))),
):
    clean = bogoliubov_de_gennes(electrons, chemical_potential=mu, **gaps)
    found = local_density_of_states(clean, energies, 0.1, sites=[0]).values[:, 0]
    quasi = np.sqrt(xi**2 + gap_k**2)
    share = (1 + xi / quasi) / 2  # of the electron, |u|^2
    exact = sum(
        part * 0.1 / np.pi / ((energies[:, None, None] - level) ** 2 + 0.01)
        for part, level in ((share, quasi), (1 - share, -quasi))
    ).mean(axis=(1, 2))
    np.testing.assert_allclose(found, exact, rtol=1e-9)
    axes.plot(energies, found, label=name)
axes.set_xlabel("E (hopping)")
axes.set_ylabel(r"$\rho$ (states / hopping)")
axes.legend()
plt.show()

# %% [markdown]
# ## A strong impurity in a d-wave
#
# In an s-wave superconductor a potential does little. In a d-wave it breaks pairs: the
# two signs of the gap cancel, and a strong impurity has a quasi-bound state in the gap,
# at zero energy for an infinite potential in a half-filled band. The state is on the
# four neighbors and in arms along the diagonals.

# %%
out = Path("runs/impurity")
density = experiment.run_map(
    experiment.BogoliubovDeGennesConfiguration(
        size=(15, 15), impurity_strength=1e4, energies=(-1.5, 1.5, 61), out=out
    ),
    experiment.make_experiment,
)
Image(out / "ldos.png", width=900)

# %%
values = density.values.reshape(-1, 15, 15)
zero = 30
print(f"at zero energy, next to the impurity: {values[zero, 8, 7]:.3f}")
print(f"                       far from it:   {values[zero, 3, 5]:.3f}")
assert values[zero, 8, 7] > 4 * values[zero, 3, 5]
# such a potential at half filling nearly leaves the density symmetric in energy
np.testing.assert_allclose(values[:, 8, 7], values[::-1, 8, 7], rtol=3e-3)

# %% [markdown]
# ## A vortex
#
# Around a vortex the phase of the gap winds by $2 \pi$, so that H is complex, and in
# its core the gap vanishes. In an s-wave superconductor this makes a potential well for
# quasiparticles, with the levels of Caroli, de Gennes and Matricon inside of the gap.

# %%
out = Path("runs/vortex")
density = experiment.run_map(
    experiment.BogoliubovDeGennesConfiguration(
        size=(16, 16),
        defect="vortex",
        pairing="s-wave",
        gap=0.8,
        chemical_potential=-1.0,
        energies=(-1.2, 1.2, 49),
        shown_energies=(0.1, 0.4, 1.0),
        out=out,
    ),
    experiment.make_experiment,
)
Image(out / "ldos.png", width=900)

# %%
core, bulk = density.values[:, 7 * 16 + 7], density.values[:, 3 * 16 + 7]
in_gap = np.abs(density.energies) < 0.4
print(
    f"inside of the gap, core: {core[in_gap].max():.3f}, bulk: {bulk[in_gap].max():.3f}"
)
assert core[in_gap].max() > 5 * bulk[in_gap].max()

# %% [markdown]
# ## Electrons and holes
#
# The matrix with electrons and holes exchanged is $-H^*$: levels come in pairs
# $\pm E$, and the holes' density at $E$ is the electrons' at $-E$. One pass over all
# $2n$ components shows it.

# %%
configuration = experiment.BogoliubovDeGennesConfiguration(
    size=(8, 8), defect="vortex", chemical_potential=-1.0
)
operator = experiment.make_experiment(configuration).operator
grid = np.linspace(-1, 1, 41)
both = np.asarray(local_density_of_states(operator, grid, 0.1).values)
electrons, holes = both[:, :64], both[:, 64:]
np.testing.assert_allclose(holes, electrons[::-1], rtol=1e-9)
levels = np.linalg.eigvalsh(to_sparse(operator).toarray())
np.testing.assert_allclose(levels, -levels[::-1], atol=1e-12)
figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
axes.plot(grid, electrons[:, 27], label="electron")
axes.plot(grid, holes[:, 27], "--", label="hole")
axes.set_xlabel("E (hopping)")
axes.set_ylabel(r"$\rho$ at site 27 (states / hopping)")
axes.legend()
plt.show()

# %% [markdown]
# Next: `06_ldos_inverse_design`, the way back from a map to its potentials.
