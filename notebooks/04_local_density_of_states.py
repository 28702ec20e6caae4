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
# # The local density of states around an impurity
#
# $\rho_i(E) = -\frac{1}{\pi} \operatorname{Im} G_{ii}(E + i\eta)$ says how many states
# there are at site $i$ and energy $E$: what a scanning tunneling microscope sees. Here
# for particles that hop along a chain with the matrix element $t = -1$ and the
# potential $\epsilon = 0.5$, with $U = 3$ more on one site. Energies are in units of
# $|t|$; sites are counted from 0.

# %%
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image

import physml
from physml.greens_functions import greens_function, local_density_of_states
from physml.hamiltonians import impurity_chain
from physml.operators import to_sparse

physml.enable_x64()

# The scripts lie beside the package in a clone.
sys.path.insert(0, str(Path(physml.__file__).parents[1] / "experiments"))
import local_density_of_states as experiment

# %% [markdown]
# ## The map
#
# The experiment `python experiments/local_density_of_states.py` makes this map for 1000
# sites; 400 are enough here.

# %%
out = Path("runs/chain")
density = experiment.run_map(
    experiment.LocalDensityOfStatesConfiguration(size=(400,), out=out),
    experiment.make_experiment,
)
Image(out / "ldos.png", width=900)

# %% [markdown]
# The impurity reflects waves, and each interferes with its reflection: Friedel
# oscillations, $\delta\rho \propto \cos(2 k |i - i_0| + \delta)$ with
# $E = \epsilon + 2 t \cos k$. They die off over the length
# $v / 2\eta$, $v = 2 \sin k$, since $\eta$ is a finite lifetime. Both are in the
# closed form of an infinite chain: with $g(z) = -i/v$ on a site,
# $G_{ii} = g + (g e^{ik|i - i_0|})^2 \, U / (1 - U g)$ and $k$ complex.

# %%
energies, eta, strength = density.energies, 0.05, 3.0
z = energies + 1j * eta - 0.5
k = np.arccos(-z / 2)
k = np.where(k.imag < 0, -k, k)
bare = -1j / (2 * np.sin(k))
distance = np.abs(density.sites - 199)
scattering = strength / (1 - strength * bare)
exact = (
    bare[:, None]
    + scattering[:, None] * (bare[:, None] * np.exp(1j * k[:, None] * distance)) ** 2
)
exact = -exact.imag / np.pi

row = int(np.argmin(np.abs(energies)))
near = distance < 45
figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
found = density.values[row, near]
axes.plot(density.sites[near], found, "o", fillstyle="none", label="400 sites")
axes.plot(density.sites[near], exact[row, near], linewidth=1, label="infinite chain")
axes.set_title(f"E = {energies[row]:.3f}")
axes.set_xlabel("site, from 0")
axes.set_ylabel(r"$\rho$ (states / energy)")
axes.legend()
plt.show()
difference = np.abs(density.values - exact)[row, near].max()
print(f"largest difference near the impurity at this energy: {difference:.1e}")
assert difference < 1e-3  # what comes back from the ends, 155 sites away

# %% [markdown]
# ## The bound state
#
# In one dimension every impurity binds a state outside of the band, at
#
# $$
# E_b = \epsilon + \operatorname{sign}(U) \sqrt{U^2 + 4 t^2} , \qquad
# |\psi_b(i_0)|^2 = \frac{|U|}{\sqrt{U^2 + 4 t^2}} ,
# $$
#
# which falls off by $e^{-\kappa}$ from site to site, $2 \sinh \kappa = |U / t|$. With
# $U = 3$ it lies at 4.106, above all energies of the map, and takes 83 % of the
# impurity's site with it. Here is a map of those energies alone.

# %%
bound = 0.5 + np.sqrt(strength**2 + 4)
weight = strength / np.sqrt(strength**2 + 4)
around = np.linspace(bound - 0.5, bound + 0.5, 201)
operator = impurity_chain(400, impurity_site=199)
peak = local_density_of_states(operator, around, 0.02, sites=[199, 200, 201, 202])
figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
for column, site in enumerate(np.asarray(peak.sites)):
    axes.semilogy(around, peak.values[:, column], label=f"site {site}")
axes.axvline(bound, color="0.4", linestyle=":", label="closed form")
axes.set_xlabel("E (energy)")
axes.set_ylabel(r"$\rho$ (states / energy)")
axes.legend()
plt.show()

kappa = np.arcsinh(strength / 2)
height = np.asarray(local_density_of_states(operator, [bound], 1e-5).values[0, 199:203])
found = height * np.pi * 1e-5  # the weight of a line is pi eta times its height
print("weights found:      ", np.round(found, 8))
print("weights closed form:", np.round(weight * np.exp(-2 * kappa * np.arange(4)), 8))
np.testing.assert_allclose(found, weight * np.exp(-2 * kappa * np.arange(4)), rtol=1e-6)

# %% [markdown]
# ## The sum rule
#
# Over all energies a site has one state. A map has some of them; what lies outside is
# not guessed but computed, from $G$ on two vertical lines in the complex plane
# (`physml/greens_functions/sum_rule.py`), bound state included. At the impurity nearly
# all is outside:

# %%
print(
    f"outside of the map at the impurity: {density.tails[199]:.4f}, bound: {weight:.4f}"
)
assert abs(density.tails[199] - weight) < 0.02  # the line itself reaches into the map
summary = json.loads((out / "result.json").read_text())
print(f"largest error of the sum rule: {summary['sum_rule_error']:.1e}")
assert summary["sum_rule_error"] < summary["resolution_error"]

# %% [markdown]
# ## Broadening and resolution
#
# A level is a Lorentzian of half width $\eta$. A finite chain has levels at a distance
# of about $2 \pi / n$ in the middle of the band: a larger $\eta$ shows the infinite
# chain, a smaller one the levels. And energies must be as close as $\eta$ wants: summed
# at the distance $h$, a Lorentzian is wrong by up to $2 e^{-2\pi\eta/h}$.

# %%
fine = np.linspace(-0.2, 1.2, 700)
figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
for width in (0.2, 0.05, 0.004):
    cut = local_density_of_states(operator, fine, width, sites=[30]).values[:, 0]
    axes.semilogy(fine, cut, label=rf"$\eta$ = {width}")
axes.set_xlabel("E (energy)")
axes.set_ylabel(r"$\rho$ at site 30 (states / energy)")
axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
plt.show()


def summed(num_energies: int) -> tuple[float, float]:
    """Return the sum over energies from -12 to 13, and their distance."""
    grid = np.linspace(-12, 13, num_energies)
    cut = local_density_of_states(operator, grid, eta, sites=[30]).values[:, 0]
    return float(np.trapezoid(cut, grid)), float(grid[1] - grid[0])


finest, _ = summed(2401)
for num_energies in (301, 601, 1201):
    total, spacing = summed(num_energies)
    allowed = 2 * np.exp(-2 * np.pi * eta / spacing)
    print(f"spacing {spacing:.3f}: off by {total - finest:+.1e}, allowed {allowed:.1e}")
    assert abs(total - finest) < 1.1 * allowed

# %% [markdown]
# ## Which method, and how good it is
#
# Each element has its own relative residual, that of the solution behind it. On chains
# and strips `recursive` wins, on small systems `dense`, and where a few sites of a
# large one are wanted `krylov` and `kernel_polynomial`; `auto` chooses by a measured
# cost model, and the result says what it was.

# %%
levels, vectors = np.linalg.eigh(to_sparse(operator).toarray())
lorentz = eta / np.pi / ((energies[:, None] - levels) ** 2 + eta**2)
reference = lorentz @ np.abs(vectors.T[:, [50, 199]]) ** 2
for method in ("recursive", "dense", "krylov", "kernel_polynomial", "auto"):
    map_of = local_density_of_states(
        operator, energies, eta, sites=[50, 199], method=method
    )
    error = np.abs(map_of.values - reference).max()
    residual = float(map_of.relative_residual.max())
    print(
        f"{method:18s} {map_of.method:18s} residual {residual:.0e}, error {error:.0e}"
    )
    assert error < 1e-9

# %% [markdown]
# One element, at one energy or at many, real or complex, comes from `greens_function`;
# this is the one on which the published programs are compared.

# %%
(element,) = greens_function(
    impurity_chain(), [5 / 18 + 0.05j], row=499, column=499
).value
print(complex(element))
assert abs(complex(element) - (-0.2314357042 - 0.1530990239j)) < 1e-9

# %% [markdown]
# Next: `05_superconductor`, with Bogoliubov-de Gennes on a square lattice.
