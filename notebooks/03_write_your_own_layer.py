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
# # Write your own layer
#
# From a formula to a layer with a hand-written pullback, to the proof that the pullback
# is right, to a model that learns: a dense layer, the smearing of spins on a chain, and
# an effective spin Hamiltonian.

# %%
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx
from IPython.display import Image

import physml
from physml.hamiltonians import heisenberg_energy, random_spins
from physml.layers import Dense, Frozen, Smearing, smear
from physml.pullbacks import WrongPullback, check_pullback, with_pullback

physml.enable_x64()

# The scripts lie beside the package in a clone.
sys.path.insert(0, str(Path(physml.__file__).parents[1] / "experiments"))
import smearing_fit

# %% [markdown]
# ## From the formula to the pullback
#
# A dense layer is $y = f(z)$ with $z = x W + b$. A number $L$ that depends on $z$ has
# the derivative $\bar z = \partial L / \partial z$, and the pullback takes it to
# derivatives with respect to $x$ and $W$. It follows from one identity: however $x$ and
# $W$ change,
#
# $$
# \langle \bar z, \dot x W + x \dot W \rangle
# = \langle \bar x, \dot x \rangle + \langle \bar W, \dot W \rangle
# \quad\Rightarrow\quad \bar x = \bar z W^T , \quad \bar W = x^T \bar z .
# $$
#
# That is all that has to be written down. `with_pullback` joins a function and its
# pullback; the bias and the activation are left to JAX.


# %%
def matrix_product(inputs: jax.Array, weight: jax.Array) -> jax.Array:
    """Return x W: (batch, features in) and (features in, features out)."""
    return inputs @ weight


def backward(kept: tuple, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the cotangents of x and of W; kept are x and W themselves."""
    inputs, weight = kept
    return cotangent @ weight.T, inputs.T @ cotangent


product = with_pullback(matrix_product, backward, name="my dense layer")


def dense(inputs: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """Return tanh(x W + b)."""
    shifted = product(inputs, weight) + jnp.broadcast_to(bias, (inputs.shape[0], 2))
    return jnp.tanh(shifted)


# %% [markdown]
# ## The check
#
# `check_pullback` compares the rule with JAX's own derivative of the same forward and
# with finite differences, for random cotangents, at the arguments given and near them.
# It takes any function that carries a `jax.custom_vjp`.

# %%
random = np.random.default_rng(0)
inputs, weight = jnp.asarray(random.normal(size=(5, 3))), jnp.asarray(np.ones((3, 2)))
report = check_pullback(dense, inputs, weight, jnp.zeros(2))
print(report)
assert report.is_passed

# %% [markdown]
# ## The module: what is trained and what is not
#
# A Flax module is a thin skin around the function. Whatever is an `nnx.Param` is
# trained; any other kind of variable is left alone. `physml.layers.Dense` is this layer
# with its checks of shapes and dtypes; from the same keys it equals `nnx.Linear`.


# %%
class MyDense(nnx.Module):
    """tanh(x W + b) with a trained weight and a bias that stays."""

    def __init__(self, weight: jax.Array, bias: jax.Array) -> None:
        self.weight = nnx.Param(weight)
        self.bias = Frozen(bias)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        return dense(inputs, self.weight[...], self.bias[...])


linear = nnx.Linear(3, 2, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
mine = MyDense(linear.kernel[...], linear.bias[...])
theirs = Dense(3, 2, activation=jnp.tanh, rngs=nnx.Rngs(0))
for layer in (mine, theirs):
    error = float(jnp.abs(layer(inputs) - jnp.tanh(linear(inputs))).max())
    print(f"{type(layer).__name__:8s} differs from nnx.Linear and tanh by {error:.0e}")
    assert error < 1e-15

optimizer = nnx.Optimizer(mine, optax.sgd(0.1), wrt=nnx.Param)
optimizer.update(mine, nnx.grad(lambda model: jnp.sum(model(inputs) ** 2))(mine))
moved = [
    float(jnp.abs(a - b).max())
    for a, b in zip(
        (mine.weight[...], mine.bias[...]),
        (linear.kernel[...], linear.bias[...]),
        strict=True,
    )
]
print(f"one step moved the weight by {moved[0]:.2f} and the bias by {moved[1]:.2f}")
assert moved[0] > 0
assert moved[1] == 0

# %% [markdown]
# ## A slip that was published
#
# Smearing adds to each spin its neighbors on a periodic chain,
#
# $$
# \tilde S_i = S_i + \sum_l a_l (S_{i+l} + S_{i-l}) .
# $$
#
# The sum is symmetric, so the pullback looks the same:
# $\bar S_i = \bar y_i + \sum_l a_l (\bar y_{i+l} + \bar y_{i-l})$. A published program
# has the term $S_i$ in its forward and has lost the term $\bar y_i$ in its pullback. It
# runs, its shapes are right, and a fit with it even moves, in a wrong direction.


# %%
def forgetful(kept: tuple, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Pull back as published: without the identity term."""
    spins, coefficients = kept
    shifted = [
        jnp.roll(spins, step, axis=0) + jnp.roll(spins, -step, axis=0)
        for step in range(1, coefficients.size + 1)
    ]
    spins_bar = smear(cotangent, coefficients, identity=False)
    return spins_bar, jnp.stack([jnp.sum(cotangent * s) for s in shifted])


published = with_pullback(smear, forgetful, name="published smearing")
spins = random_spins(jax.random.key(0), 16)
coefficients = jnp.array([0.3, -0.1])
report = check_pullback(published, spins, coefficients, throw=False)
assert not report.is_passed
assert report.worst.argument == "spins"
print(WrongPullback(report))  # what check_pullback raises without throw=False

# %% [markdown]
# The error names the argument and the worst entry; the derivative with respect to the
# coefficients is right. This is the energy's gradient on the chain, with the right and
# with the published rule:


# %%
def gradient(layer) -> np.ndarray:
    """Return dE/dS, the first component, of the Heisenberg energy after a layer."""
    total = jax.grad(lambda s: heisenberg_energy(layer(s, coefficients), 1.0))(spins)
    return np.asarray(total[:, 0])


figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
axes.axhline(0, color="0.6", linewidth=0.8)
axes.plot(gradient(smear), "o", fillstyle="none", label="right pullback")
axes.plot(
    gradient(lambda s, a: smear(s, a, derivative="autodiff")), ".", label="autodiff"
)
axes.plot(gradient(published), "x", label="identity term forgotten")
axes.set_xlabel("site i")
axes.set_ylabel(r"$\partial E / \partial S^x_i$ (units of J)")
axes.legend()
plt.show()
np.testing.assert_allclose(
    gradient(smear),
    gradient(lambda s, a: smear(s, a, derivative="autodiff")),
    rtol=1e-12,
)

# %% [markdown]
# ## Stacking
#
# `Smearing` is a Flax module as any other. Two smearings with linear layers between
# and after them learn here to take the noise off the spins of a chain with domains.
# Adam comes from Optax, all steps run in one compiled scan.

# %%
num_sites = 48
keys = jax.random.split(jax.random.key(1), 256)


def noisy_domains(key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return spins (sites, 1) with noise of deviation 1, and without."""
    wave_key, noise_key = jax.random.split(key)
    phases = 2 * jnp.pi * jax.random.uniform(wave_key, (3,))
    angle = 2 * jnp.pi * jnp.arange(num_sites)[:, None] / num_sites * jnp.arange(1, 4)
    up = jnp.sign(jnp.sum(jnp.cos(angle + phases), axis=1, keepdims=True))
    return up + jax.random.normal(noise_key, up.shape), up


noisy, clean = jax.vmap(noisy_domains)(keys)  # (256, sites, 1)
rngs = nnx.Rngs(0)
model = nnx.Sequential(
    Smearing(3, rngs=rngs),
    nnx.Linear(1, 4, param_dtype=jnp.float64, rngs=rngs),
    jnp.tanh,
    Smearing(3, rngs=rngs),
    nnx.Linear(4, 1, param_dtype=jnp.float64, rngs=rngs),
    jnp.tanh,
)
graph, start = nnx.split(model)
adam = optax.adam(1e-2)


def mean_squared_error(parameters: nnx.State) -> jax.Array:
    return jnp.mean((nnx.merge(graph, parameters)(noisy) - clean) ** 2)


@jax.jit
def train(parameters: nnx.State) -> tuple[nnx.State, jax.Array]:
    """Take 300 steps."""

    def step(carry: tuple, _: None) -> tuple:
        parameters, state = carry
        loss, gradient = jax.value_and_grad(mean_squared_error)(parameters)
        updates, state = adam.update(gradient, state)
        return (optax.apply_updates(parameters, updates), state), loss

    carry = parameters, adam.init(parameters)
    (parameters, _), losses = jax.lax.scan(step, carry, length=300)
    return parameters, losses


trained, losses = train(start)
output = nnx.merge(graph, trained)(noisy)
right = float(jnp.mean(jnp.sign(output) == clean))
before = float(jnp.mean(jnp.sign(noisy) == clean))
print(f"signs right: {before:.1%} of the noisy spins, {right:.1%} after the layers")
assert right > before + 0.05

# %%
figure, (left, center) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
left.semilogy(losses)
left.set_xlabel("Adam step")
left.set_ylabel("mean squared error (spins of length 1)")
center.plot(noisy[0, :, 0], ".", color="0.6", label="noisy spins")
center.step(range(num_sites), clean[0, :, 0], where="mid", color="0.3", label="clean")
center.plot(output[0, :, 0], label="layers")
center.set_xlabel("site i")
center.set_ylabel("spin")
center.legend(loc="upper right", fontsize="small")
plt.show()

# %% [markdown]
# ## An effective Hamiltonian
#
# The experiment `python experiments/smearing_fit.py` draws a hidden model, stacked
# smearings and the Heisenberg energy, and learns it from the energies of random spins.
# Stacked smearings commute, so that their coefficients are not determined by energies.
# What is determined are the effective couplings of
#
# $$
# E = \sum_i \Big[ J_0 \mathbf S_i^2 + \sum_{r \ge 1} J_r \mathbf S_i \cdot
# (\mathbf S_{i+r} + \mathbf S_{i-r}) \Big] ,
# $$
#
# which follow from the coefficients in closed form: with
# $\kappa = (\ldots, a_1, 1, a_1, \ldots)$ of all layers convolved,
# $J_r = J (\kappa * \kappa * (\delta_1 + \delta_{-1}))_r$.

# %%
out = Path("runs/smearing_fit")
result = smearing_fit.run_fit(
    smearing_fit.SmearingFitConfiguration(
        neighbors=(1, 2), sites=24, samples=128, starts=64, out=out
    ),
    smearing_fit.make_experiment,
)

# %%
summary = json.loads((out / "result.json").read_text())
print(f"largest error of an effective coupling: {summary['max_error']:.0e}")
print(
    "hidden coefficients: ", np.round(np.concatenate(summary["hidden_coefficients"]), 6)
)
print(
    "learned coefficients:",
    np.round(np.concatenate(summary["learned_coefficients"]), 6),
)
assert summary["max_error"] <= 1e-8

# %%
Image(out / "fit.png", width=700)

# %%
Image(out / "convergence.png", width=700)

# %% [markdown]
# ## Noise
#
# With noise on the energies the couplings come out with an error that falls like one
# over the square root of the number of samples. The dotted line is the standard error
# of one coupling fitted alone, $\sigma / \sqrt{M \cdot 4 N / 3}$ for $M$ samples of
# random unit vectors on $N$ sites: $\sum_i \mathbf S_i \cdot (\mathbf S_{i+r} +
# \mathbf S_{i-r})$ has the variance $4 N / 3$.

# %%
numbers = (64, 256, 1024)
errors = []
for samples in numbers:
    configuration = smearing_fit.SmearingFitConfiguration(
        neighbors=(2,),
        sites=24,
        samples=samples,
        batch=32,
        starts=64,
        noise=0.1,
        out=Path(f"runs/noisy_{samples}"),
    )
    smearing_fit.run_fit(configuration, smearing_fit.make_experiment)
    noisy_result = json.loads((configuration.out / "result.json").read_text())
    difference = np.subtract(
        noisy_result["hidden_couplings"], noisy_result["learned_couplings"]
    )[1:]
    errors.append(float(np.sqrt(np.mean(difference**2))))

# %%
figure, axes = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
standard = 0.1 / np.sqrt(np.array(numbers) * 4 * 24 / 3)
axes.loglog(numbers, errors, "o-", label="learned, root mean square over r")
axes.loglog(numbers, standard, ":", color="0.3", label="standard error of one coupling")
axes.set_xlabel("samples")
axes.set_ylabel("error of $J_r$ (energy)")
axes.legend()
plt.show()
assert np.all(np.array(errors) < 4 * standard)

# %% [markdown]
# Next: `docs/extending.md` has the layer in short, `docs/derivations/` the derivation
# of every pullback, and `physml.pullbacks` the forms `derivative="both_modes"` and
# `"autodiff"` for forward mode.
