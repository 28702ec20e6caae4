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
# # The harmonic oscillator by a neural-network wave function
#
# The oscillator $H = -\frac12 \frac{d^2}{dx^2} + \frac12 \omega^2 x^2$ has the levels
# $E_n = \omega (n + \frac12)$, so every number of this notebook can be checked. Units:
# $\hbar = m = 1$, and $\omega = 1$.
#
# Steps: the variational principle with one parameter, the operator on a grid, a network
# as trial function, excited states, and how far each result can be from the truth.

# %%
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from flax import nnx
from IPython.display import Image

import physml
from physml.estimators import energy_estimate, weinstein_interval
from physml.hamiltonians import Harmonic
from physml.solvers import lowest_levels, overlaps

physml.enable_x64()  # before the first array; JAX computes in float32 otherwise

# The scripts lie beside the package in a clone.
sys.path.insert(0, str(Path(physml.__file__).parents[1] / "experiments"))
import harmonic_oscillator

# %% [markdown]
# ## The variational principle
#
# The energy of any trial function, the Rayleigh quotient
# $E[\psi] = \langle\psi|H|\psi\rangle / \langle\psi|\psi\rangle$, is not below the
# ground-state energy. We try a function with one parameter,
# $\psi_w(x) = (1 + x^2/w^2)^{-4}$, on a grid of 255 points between walls at $\pm 8$.
#
# Next to the energy we get the norm $r$ of the residual $H\psi - E\psi$. Weinstein's
# theorem says that some eigenvalue lies in $[E - r, E + r]$.

# %%
grid = physml.Grid.line(-8, 8, 255)
hamiltonian = physml.schrodinger_hamiltonian(grid, Harmonic(omega=1.0))
(x,) = grid.coordinates()

widths = np.linspace(1.5, 5.0, 60)
trials = (1 + (x / widths[:, None]) ** 2) ** -4  # (60, 255)
energies, residuals = jax.vmap(lambda psi: energy_estimate(hamiltonian, psi))(trials)

figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
axes.fill_between(
    widths,
    energies - residuals,
    energies + residuals,
    alpha=0.2,
    label="Weinstein interval",
)
axes.plot(widths, energies, label="energy of the trial function")
axes.axhline(0.5, color="0.3", linestyle="--", label="exact ground state")
axes.set_xlabel("width w of the trial function (length)")
axes.set_ylabel("energy")
axes.legend()
plt.show()

best = int(energies.argmin())
interval = weinstein_interval(float(energies[best]), float(residuals[best]))
print(f"lowest energy {energies[best]:.6f} at w = {widths[best]:.2f}")
print(f"an eigenvalue lies in [{interval.lower:.4f}, {interval.upper:.4f}]")
assert np.all(energies > 0.5)
assert interval.lower < 0.5 < interval.upper

# %% [markdown]
# One parameter gives the energy to about one percent. A network has hundreds of
# parameters; the principle is the same, and `jax.grad` finds the way down.
#
# ## The grid operator
#
# On the grid, $H$ is a matrix: the second derivative becomes a central difference of
# order 2, 4, 6 or 8. A network on the grid can only be as good as this matrix. Its
# lowest eigenvalue differs from $\frac12$ by an error that falls with the spacing like
# $h^p$, $p$ the order of the stencil.


# %%
def grid_ground_state(num_points: int, stencil_order: int) -> tuple[float, float]:
    """Return the spacing and the lowest eigenvalue of the grid operator."""
    grid = physml.Grid.line(-8, 8, num_points)
    hamiltonian = physml.schrodinger_hamiltonian(
        grid, Harmonic(), stencil_order=stencil_order
    )
    energy = lowest_levels(hamiltonian.to_sparse(), 1, lower_bound=-1.0).energies[0]
    return grid.volume_element, float(energy)


numbers = (23, 31, 47, 63, 95, 127, 191, 255)
figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for order in (2, 4, 6, 8):
    spacings, levels = np.array([grid_ground_state(n, order) for n in numbers]).T
    errors = np.abs(levels - 0.5)
    (line,) = axes.loglog(spacings, errors, "o-", label=f"order {order}")
    is_clean = errors > 1e-11
    slope = np.polyfit(
        np.log(spacings[is_clean][-4:]), np.log(errors[is_clean][-4:]), 1
    )
    print(f"order {order}: measured {slope[0]:.2f}")
    assert abs(slope[0] - order) < 0.2
axes.set_xticks([0.1, 0.2, 0.4], ["0.1", "0.2", "0.4"])
axes.set_xticks([], minor=True)
axes.set_xlabel("grid spacing h (length)")
axes.set_ylabel("|lowest eigenvalue - 1/2| (energy)")
axes.legend()
plt.show()

# %% [markdown]
# The order-2 stencil lies below the exact energy by $h^2/32$: a grid breaks the
# variational principle of the continuum. So we compare two things separately: the
# network with the *grid operator's* eigenvalue, which bounds it from below, and the
# grid operator with the continuum.
#
# ## A network as trial function
#
# The network maps $x$ to hidden features $\phi_k(x)$; its output is a combination
# $\sum_k c_k \phi_k(x)$, times a factor that decays towards the walls. For given
# features the best $c_k$ follow from a small eigenvalue problem, so physml can leave
# the output layer out of the optimization and solve for it exactly in each step. Before
# any training the features are steps spread over the box:

# %%
network = physml.MultilayerPerceptron(
    grid, (16,), output_layer="solved", rngs=nnx.Rngs(0)
)
features = network(jnp.asarray(grid.points()))  # (255, 17), the last one is constant
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.plot(x, features, linewidth=1)
axes.set_xlabel("x (length)")
axes.set_ylabel("initial features (no unit)")
plt.show()

# %% [markdown]
# ## The experiment
#
# `python experiments/harmonic_oscillator.py` does the rest: an Adam start, then L-BFGS,
# level after level. Here the same code runs with a small network and few steps. Level
# $n$ is orthogonal to the lower levels exactly, by projection, so there is no penalty
# weight to choose.

# %%
out = Path("runs/harmonic_oscillator")
configuration = harmonic_oscillator.HarmonicOscillatorConfiguration(
    points=255, hidden=(16,), levels=3, steps=200, out=out
)
levels = harmonic_oscillator.run_levels(
    configuration, harmonic_oscillator.make_experiment
)

# %% [markdown]
# "step limit" says that more steps would still help: the default run allows five times
# as many and has a wider network. The columns "- grid operator" and "- closed form" are
# differences from the energy. The run left pictures in its folder:

# %%
Image(out / "levels.png", width=600)

# %%
Image(out / "convergence.png", width=700)

# %% [markdown]
# The left picture falls faster than the right one: the error of the energy is of
# second order in the error of the wave function, $E - E_n \lesssim r^2 / \text{gap}$.
# That is what the Kato-Temple interval makes precise. It uses the neighboring levels of
# the grid operator and is much narrower than Weinstein's:

# %%
for level in levels:
    weinstein = weinstein_interval(level.energy, level.residual_norm)
    print(
        f"level {level.level}: Weinstein {weinstein.upper - weinstein.lower:.0e}, "
        f"Kato-Temple {level.interval.upper - level.interval.lower:.0e} wide, error "
        f"{level.energy - level.grid_energy:+.0e}, {level.outcome.name}"
    )
    assert level.interval.lower <= level.grid_energy <= level.interval.upper
    assert abs(level.energy - (level.level + 0.5)) < 1e-5

rows = jnp.stack([level.psi for level in levels])
gram = overlaps(rows, rows) * grid.volume_element
print(f"largest |<m|n> - delta_mn|: {jnp.abs(gram - jnp.eye(3)).max():.1e}")
assert jnp.allclose(gram, jnp.eye(3), rtol=0, atol=1e-12)

# %% [markdown]
# ## The wave functions
#
# The exact ground state is $\pi^{-1/4} e^{-x^2/2}$. The picture has a logarithmic axis,
# to show the tails: the network follows the exact function down to the size of its own
# error.

# %%
ground = levels[0].psi * np.sign(levels[0].psi.sum())
exact = np.pi**-0.25 * np.exp(-(x**2) / 2)
figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
axes.semilogy(x, exact, label="exact wave function")
axes.semilogy(x, np.abs(ground), "--", label="|network|")
axes.semilogy(x, np.abs(ground - exact), linewidth=1, label="|difference|")
axes.set_ylim(1e-14, 2)
axes.set_xlabel("x (length)")
axes.set_ylabel(r"$\psi$ (1 / $\sqrt{\mathrm{length}}$)")
axes.legend()
plt.show()

# %% [markdown]
# ## Why the output layer is solved for
#
# The usual way trains the output layer together with the others. Here is the same
# network trained that way, with 1000 steps of Adam. The run above had 100 steps of Adam
# with another learning-rate schedule and 100 of L-BFGS; it starts where the other one
# does not arrive.

# %%
trained = Path("runs/trained_output_layer")
harmonic_oscillator.run_levels(
    harmonic_oscillator.HarmonicOscillatorConfiguration(
        points=255,
        hidden=(16,),
        levels=1,
        steps=1000,
        optimizer="adam",
        output_layer="trained",
        out=trained,
    ),
    harmonic_oscillator.make_experiment,
)

# %%
figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
for folder, label in (
    (trained, "output layer trained, Adam"),
    (out, "output layer solved, Adam and L-BFGS"),
):
    records = [json.loads(row) for row in (folder / "records.jsonl").open()]
    records = [row for row in records if row["level"] == 0]
    errors = [abs(row["energy"] - levels[0].grid_energy) for row in records]
    axes.semilogy([row["step"] for row in records], errors, label=label)
axes.set_xlabel("optimizer step")
axes.set_ylabel("|E - grid operator's eigenvalue| (energy)")
axes.legend()
plt.show()

# %% [markdown]
# Next: `02_potentials_and_excited_states`, with tunneling, other potentials and two
# particles. For your own potential see the README and `docs/extending.md`.
