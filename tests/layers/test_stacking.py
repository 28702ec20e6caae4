"""Smearings in stacks with Flax layers, transforms and optimizers."""

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from physml.hamiltonians import heisenberg_energy
from physml.layers import Dense, Smearing, smear

EPS = np.finfo(np.float64).eps


def _spins(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(0).normal(size=shape))


def _stack(derivative: str) -> nnx.Sequential:
    rngs = nnx.Rngs(0)
    layers = [Smearing(n, derivative=derivative, rngs=rngs) for n in (2, 3, 2)]
    return nnx.Sequential(
        *layers, lambda s: heisenberg_energy(s, 0.5, derivative=derivative)
    )


def test_three_smearings_and_an_energy() -> None:
    spins = _spins(4, 8, 3)
    loss = nnx.jit(nnx.grad(lambda model, s: jnp.mean(model(s) ** 2)))
    got, want = loss(_stack("custom_vjp"), spins), loss(_stack("autodiff"), spins)
    for left, right in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e3 * EPS)


def test_before_and_after_linear_layers() -> None:
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(
        Smearing(1, rngs=rngs),
        nnx.Linear(3, 4, param_dtype=jnp.float64, rngs=rngs),
        jnp.tanh,
        Smearing(2, rngs=rngs),
        Dense(4, 1, rngs=rngs),
    )
    gradient = nnx.jit(nnx.grad(lambda m: jnp.sum(m(_spins(2, 7, 3)))))(model)
    assert all(bool(jnp.any(g != 0)) for g in jax.tree.leaves(gradient))


def test_many_layers_by_vmap_and_scan() -> None:
    """Five layers made by `nnx.vmap` and applied by `nnx.scan`."""

    @nnx.split_rngs(splits=5)
    @nnx.vmap(in_axes=0, out_axes=0)
    def make(rngs: nnx.Rngs) -> Smearing:
        return Smearing(2, rngs=rngs)

    @nnx.scan(in_axes=(0, nnx.Carry), out_axes=nnx.Carry)
    def apply(layer: Smearing, spins: jax.Array) -> jax.Array:
        return layer(spins)

    layers, spins = make(nnx.Rngs(0)), _spins(6, 2)

    def loop(coefficients: jax.Array) -> jax.Array:
        out = spins
        for row in coefficients:
            out = smear(out, row)
        return jnp.sum(out**2)

    gradient = nnx.jit(nnx.grad(lambda m: jnp.sum(apply(m, spins) ** 2)))(layers)
    want = jax.jit(jax.grad(loop))(layers.coefficients[...])
    np.testing.assert_allclose(gradient.coefficients[...], want, rtol=1e3 * EPS)


def test_linen_by_the_functional_form() -> None:
    class LinenSmearing(linen.Module):
        num_neighbors: int

        @linen.compact
        def __call__(self, spins: jax.Array) -> jax.Array:
            start = linen.initializers.normal(0.1, dtype=jnp.float64)
            a = self.param("coefficients", start, (self.num_neighbors,))
            return smear(spins, a)

    model = linen.Sequential([LinenSmearing(2), LinenSmearing(1)])
    spins = _spins(5, 3)
    variables = model.init(jax.random.key(0), spins)
    first, second = (
        variables["params"][f"layers_{i}"]["coefficients"] for i in range(2)
    )
    want = smear(smear(spins, first), second)
    np.testing.assert_array_equal(model.apply(variables, spins), want)
    gradient = jax.grad(lambda v: jnp.sum(model.apply(v, spins) ** 2))(variables)
    assert all(bool(jnp.any(g != 0)) for g in jax.tree.leaves(gradient))


def test_an_optax_mask_freezes_one_layer() -> None:
    model = nnx.Sequential(Smearing(2, rngs=nnx.Rngs(0)), Smearing(1, rngs=nnx.Rngs(1)))
    graph, params = nnx.split(model)
    before = jax.tree.leaves(params)
    labels = jax.tree.map_with_path(
        lambda path, _: "frozen" if path[1].key == 0 else "trained", params
    )
    optimizer = optax.multi_transform(
        {"frozen": optax.set_to_zero(), "trained": optax.sgd(0.1)}, labels
    )
    spins = _spins(6, 2)

    @jax.jit
    def step(params: nnx.State, state: optax.OptState) -> tuple:
        gradient = jax.grad(lambda p: jnp.mean(nnx.merge(graph, p)(spins) ** 2))(params)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state

    params, _ = step(params, optimizer.init(params))
    after = jax.tree.leaves(params)
    np.testing.assert_array_equal(after[0], before[0])
    assert bool(jnp.all(after[1] != before[1]))
