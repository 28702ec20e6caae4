"""Layers of spins against their formula, and their symmetries as identities."""

from collections.abc import Callable, Iterator
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from physml.lattices import (
    BravaisLattice,
    PairShells,
    cubic,
    pair_matrix,
    pair_shells,
    square,
    triangular,
)
from physml.layers import (
    SpinLayer,
    SpinLayerKind,
    SpinLayerWeights,
    attention_scores,
    block_spins,
    normalized,
    random_spin_layer,
    smear,
    spin_layer,
)

KINDS: tuple[SpinLayerKind, ...] = get_args(SpinLayerKind)
EPS = np.finfo(np.float64).eps
EXACT = 1e-12


def random_unit_spins(*shape: int, seed: int = 0) -> jax.Array:
    spins = np.random.default_rng(seed).normal(size=(*shape, 3))
    return jnp.asarray(spins / np.linalg.norm(spins, axis=-1, keepdims=True))


def layer_of(kind: SpinLayerKind, num_shells: int = 3) -> SpinLayerWeights:
    """Return a layer that changes the spins much."""
    key = jax.random.key(7)
    weights = random_spin_layer(key, kind, num_shells=num_shells, update=3.0)
    assert weights.kind == kind
    return weights


def rotation(seed: int = 0, determinant: float = 1.0) -> jax.Array:
    """Return a random element of O(3)."""
    matrix = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return jnp.asarray(matrix * determinant * np.linalg.det(matrix))


def site_maps(lattice: BravaisLattice) -> Iterator[tuple[str, np.ndarray]]:
    """Yield symmetries of an n x n lattice as the site that each site comes from.

    A matrix of integers acts on the numbers m of a site in primitive vectors.
    """
    turns = {
        "rotation by 90 degrees": (square, [[0, -1], [1, 0]]),
        "mirror": (square, [[0, 1], [1, 0]]),
        "rotation by 60 degrees": (triangular, [[0, -1], [1, 1]]),
        "mirror, triangular": (triangular, [[0, 1], [1, 0]]),
    }
    sites = np.indices(lattice.shape).reshape(2, -1)
    for name, (make, matrix) in turns.items():
        if lattice == make(*lattice.shape):
            moved = np.array(matrix) @ sites
            yield name, np.ravel_multi_index(tuple(moved), lattice.shape, "wrap")
    moved = sites + np.array([[1], [2]])
    yield "translation", np.ravel_multi_index(tuple(moved), lattice.shape, "wrap")


def moved(spins: jax.Array, sources: np.ndarray) -> jax.Array:
    """Return a field (n_1, n_2, components) after a map of its sites."""
    return jnp.reshape(jnp.reshape(spins, (-1, 3))[sources], spins.shape)


def by_formula(
    spins: jax.Array, weights: SpinLayerWeights, pairs: PairShells
) -> np.ndarray:
    """Return one layer in plain loops over pairs of sites."""
    s, numbers = np.asarray(spins).reshape(-1, 3), pairs.numbers

    def weight(name: str, i: int, j: int) -> float:
        values = getattr(weights, name)
        if name == "convolution":
            values = None if values is None else np.append(0.0, values)
        if values is None or numbers[i, j] >= len(values):
            return 0.0
        images = 1 if name == "bias" else pairs.images[i, j]
        return float(values[numbers[i, j]]) * images

    every = range(len(s))
    blocks = {
        name: [sum(weight(name, i, j) * s[j] for j in every) for i in every]
        for name in ("query", "key", "value", "convolution")
    }
    result = []
    for i in every:
        x = s[i] + blocks["convolution"][i]
        for j in every:
            product = blocks["query"][i] @ blocks["key"][j] / np.sqrt(3)
            score = max(product + weight("bias", i, j), 0.0)
            x = x + score * blocks["value"][j] / len(s)
        result.append(x / np.linalg.norm(x))
    return np.reshape(result, spins.shape)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lattice", [square(3, 4), cubic(2, 3, 2)], ids=str)
def test_layer_agrees_with_the_formula(
    lattice: BravaisLattice, kind: SpinLayerKind
) -> None:
    pairs, weights = pair_shells(lattice, 3), layer_of(kind)
    spins = random_unit_spins(*lattice.shape)
    want = by_formula(spins, weights, pairs)
    np.testing.assert_allclose(spin_layer(spins, weights, pairs), want, atol=EXACT)


@pytest.mark.parametrize("lattice", [square(5, 7), triangular(4, 4)], ids=str)
def test_block_spins_are_smeared_spins(lattice: BravaisLattice) -> None:
    pairs, weights = pair_shells(lattice, 3), jnp.array([0.7, 0.3, -0.2, 0.1])
    spins = random_unit_spins(2, *lattice.shape)
    if lattice == triangular(4, 4):  # r^2 = 4 leads both ways to the same site
        weights = weights.at[-1].set(0.0)
    want = 0.7 * spins + smear(spins, weights[1:], lattice=lattice, identity=False)
    np.testing.assert_allclose(block_spins(spins, weights, pairs), want, atol=EXACT)


@pytest.mark.parametrize("determinant", [1.0, -1.0], ids=["rotation", "reflection"])
@pytest.mark.parametrize("kind", KINDS)
def test_layers_turn_with_the_spins(kind: SpinLayerKind, determinant: float) -> None:
    lattice = square(4, 4)
    pairs, weights = pair_shells(lattice, 3), layer_of(kind)
    spins = random_unit_spins(*lattice.shape)
    turn = rotation(1, determinant)
    got = spin_layer(spins @ turn, weights, pairs)
    want = spin_layer(spins, weights, pairs) @ turn
    np.testing.assert_allclose(got, want, rtol=0, atol=EXACT)
    if weights.query is not None:
        scores = [attention_scores(s, weights, pairs) for s in (spins @ turn, spins)]
        np.testing.assert_allclose(*scores, rtol=0, atol=EXACT)
        assert np.any(np.asarray(scores[0]) == 0)
        assert np.any(np.asarray(scores[0]) > 0)


@pytest.mark.parametrize("lattice", [square(4, 4), triangular(4, 4)], ids=["sq", "tri"])
@pytest.mark.parametrize("kind", KINDS)
def test_layers_commute_with_the_space_group(
    kind: SpinLayerKind, lattice: BravaisLattice
) -> None:
    pairs, weights = pair_shells(lattice, 3), layer_of(kind)
    layer: Callable = jax.jit(lambda spins: spin_layer(spins, weights, pairs))
    spins = random_unit_spins(*lattice.shape)
    maps = dict(site_maps(lattice))
    assert len(maps) == 3
    for name, sources in maps.items():
        got, want = layer(moved(spins, sources)), moved(layer(spins), sources)
        np.testing.assert_allclose(got, want, rtol=0, atol=EXACT, err_msg=name)
        assert not np.allclose(moved(spins, sources), spins)


@pytest.mark.parametrize("kind", KINDS)
def test_a_periodic_pattern_does_not_know_the_size(kind: SpinLayerKind) -> None:
    """Two by two copies of a pattern go through like one, also in the antipodes."""
    small = square(4, 4)
    pairs, weights = pair_shells(small, 5), layer_of(kind, 5)
    if weights.bias is not None:  # far pairs of the larger lattice have none
        weights = SpinLayerWeights(weights.query, weights.key, weights.value)
    spins = random_unit_spins(*small.shape)
    large = spin_layer(jnp.tile(spins, (2, 2, 1)), weights, pairs.on(square(8, 8)))
    want = jnp.tile(spin_layer(spins, weights, pairs), (2, 2, 1))
    np.testing.assert_allclose(large, want, rtol=0, atol=EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_vmap_and_jit_agree(kind: SpinLayerKind) -> None:
    lattice = square(3, 3)
    pairs, weights = pair_shells(lattice, 2), layer_of(kind, 2)
    spins = random_unit_spins(2, 2, *lattice.shape)
    layer = lambda s: spin_layer(s, weights, pairs)  # noqa: E731
    mapped = jax.jit(jax.vmap(jax.vmap(layer)))(spins)
    np.testing.assert_allclose(mapped, layer(spins), rtol=0, atol=EXACT)
    np.testing.assert_allclose(layer(spins)[1, 0], layer(spins[1, 0]), atol=EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_agree_with_finite_differences(kind: SpinLayerKind) -> None:
    """Reverse and forward mode, in the spins and in the weights."""
    lattice = square(3, 3)
    pairs, weights = pair_shells(lattice, 2), layer_of(kind, 2)
    spins = random_unit_spins(*lattice.shape)
    random = np.random.default_rng(1)
    g, *along = (jnp.asarray(random.normal(size=spins.shape)) for _ in range(2))
    rates = jax.tree.map(lambda x: jnp.asarray(random.normal(size=x.shape)), weights)

    @jax.jit
    def value(spins: jax.Array, weights: SpinLayerWeights) -> jax.Array:
        return jnp.sum(g * spin_layer(spins, weights, pairs))

    def at(step: float) -> jax.Array:
        change = lambda x, v: x + step * v  # noqa: E731
        return value(spins + step * along[0], jax.tree.map(change, weights, rates))

    h = EPS ** (1 / 5)  # of the extrapolated difference, with an error of h^4
    difference = 4 / 3 * (at(h / 2) - at(-h / 2)) / h - (at(h) - at(-h)) / (6 * h)
    forward = jax.jvp(value, (spins, weights), (along[0], rates))[1]
    gradients = jax.grad(value, (0, 1))(spins, weights)
    reverse = sum(
        jnp.vdot(x, v)
        for x, v in zip(
            jax.tree.leaves(gradients), jax.tree.leaves((along[0], rates)), strict=True
        )
    )
    np.testing.assert_allclose(reverse, forward, rtol=1e-11)
    np.testing.assert_allclose(forward, difference, rtol=1e-7)


def test_a_zero_vector_has_finite_derivatives() -> None:
    vectors = jnp.array([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0], [1e-170, 0.0, 0.0]])
    np.testing.assert_allclose(normalized(vectors)[1], [0.6, 0.0, 0.8], rtol=2 * EPS)
    assert normalized(vectors)[0].tolist() == [0.0, 0.0, 0.0]
    assert jnp.all(jnp.isfinite(jax.jacrev(normalized)(vectors)))
    assert jnp.all(jnp.isfinite(jax.jacfwd(normalized)(vectors)))
    # a layer that annihilates the spins: S + c (neighbors) = 0 where all are parallel
    up = jnp.zeros((4, 4, 3)).at[..., 2].set(1.0)
    layer, pairs = (
        SpinLayerWeights(convolution=-jnp.ones(1) / 4),
        pair_shells(square(4, 4), 1),
    )
    value, gradient = jax.value_and_grad(lambda s: spin_layer(s, layer, pairs).sum())(
        up
    )
    assert value == 0
    assert jnp.all(jnp.isfinite(gradient))


@pytest.mark.parametrize("kind", KINDS)
def test_random_weights_have_the_parts_of_their_kind(kind: SpinLayerKind) -> None:
    weights = random_spin_layer(
        jax.random.key(0), kind, num_shells=2, bias_shells=4, update=0.0
    )
    assert weights.kind == kind
    assert weights.num_shells == 2
    sizes = {"attention": 9, "biased_attention": 14, "convolution": 2}
    sizes["convolution_and_attention"] = 11
    assert sum(leaf.size for leaf in jax.tree.leaves(weights)) == sizes[kind]
    spins, pairs = random_unit_spins(4, 4), pair_shells(square(4, 4), 4)
    np.testing.assert_allclose(spin_layer(spins, weights, pairs), spins, atol=4 * EPS)


@pytest.mark.parametrize("kind", KINDS)
def test_module_is_a_thin_skin(kind: SpinLayerKind) -> None:
    lattice = square(3, 4)
    layer = SpinLayer(2, lattice, kind=kind, rngs=nnx.Rngs(0))
    key = nnx.Rngs(0).params()
    weights = random_spin_layer(key, kind, num_shells=2)
    spins = random_unit_spins(*lattice.shape)
    want = spin_layer(spins, weights, pair_shells(lattice, 2))
    np.testing.assert_array_equal(layer(spins), want)
    parameters = jax.tree.leaves(nnx.state(layer, nnx.Param))
    assert len(parameters) == len(jax.tree.leaves(weights))


def test_bad_input_is_refused() -> None:
    pairs, weights = pair_shells(square(3, 3), 2), layer_of("attention", 2)
    spins, key = random_unit_spins(3, 3), jax.random.key(0)
    with pytest.raises(ValueError, match="a lattice of shape"):
        spin_layer(random_unit_spins(4, 3), weights, pairs)
    with pytest.raises(TypeError, match="astype"):
        spin_layer(jnp.ones((3, 3, 3), int), weights, pairs)
    with pytest.raises(TypeError, match="float32"):
        spin_layer(spins.astype("float32"), weights, pairs)
    with pytest.raises(ValueError, match="at most 3 weights"):
        spin_layer(spins, layer_of("convolution"), pairs)
    with pytest.raises(ValueError, match="'attentive'"):
        random_spin_layer(key, "attentive", num_shells=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1 shell or more, got 0"):
        random_spin_layer(key, "attention", num_shells=0)
    with pytest.raises(ValueError, match="update >= 0, got -1"):
        random_spin_layer(key, "attention", num_shells=1, update=-1)


def test_single_precision_stays_single() -> None:
    weights = jax.tree.map(lambda x: x.astype("float32"), layer_of("biased_attention"))
    spins, pairs = (
        random_unit_spins(4, 4).astype("float32"),
        pair_shells(square(4, 4), 3),
    )
    assert spin_layer(spins, weights, pairs).dtype == np.float32
    assert pair_matrix(weights.bias, pairs).dtype == np.float32
