"""Smearing against its definition, site by site, and against dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from physml.lattices import BravaisLattice, chain, cubic, square, triangular
from physml.layers import Smearing, smear
from physml.pullbacks import check_pullback

EPS = np.finfo(np.float64).eps
DERIVATIVES = ("custom_vjp", "both_modes", "autodiff")
DTYPES = (np.float64, np.complex128)
LATTICES = [chain(8), square(4, 5), triangular(5, 4), cubic(3, 4, 2)]


def _random(shape: tuple[int, ...], dtype: type, seed: int = 0) -> jax.Array:
    random = np.random.default_rng(seed)
    array = random.normal(size=shape) + 1j * random.normal(size=shape)
    return jnp.asarray(array if dtype is np.complex128 else array.real)


def _by_definition(spins: jax.Array, a: jax.Array, identity: bool) -> np.ndarray:
    """S_i + sum_l a_l (S_i+l + S_i-l) in loops."""
    spins, sites = np.asarray(spins), spins.shape[-2]
    total = spins.copy() if identity else np.zeros_like(spins)
    for i in range(sites):
        for step, value in enumerate(np.asarray(a), start=1):
            both = spins[..., (i + step) % sites, :] + spins[..., (i - step) % sites, :]
            total[..., i, :] += value * both
    return total


def _matrices(lattice: BravaisLattice, count: int) -> np.ndarray:
    """Return A_s[i, j] = 1 where site j lies in shell s of site i, by positions."""
    vectors = np.asarray(lattice.primitive_vectors)
    sites = np.stack(np.indices(lattice.shape), axis=-1).reshape(-1, lattice.dimension)
    reach = np.stack(np.indices((5,) * lattice.dimension), -1) - 2
    images = reach.reshape(-1, lattice.dimension) * np.array(lattice.shape)
    steps = sites[None, :, None] - sites[:, None, None] + images
    squared = np.round(np.sum((steps @ vectors) ** 2, axis=-1).min(axis=-1), 6)
    distances = np.unique(squared)[1:]
    return np.stack([squared == r2 for r2 in distances[:count]]).astype(float)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("num", [1, 2, 3, 4, 6, 8, 13])
def test_chain_agrees_with_the_definition(
    num: int, identity: bool, dtype: type
) -> None:
    """Six sites: from l = 3 on the chain wraps around, l = 6 is the site itself."""
    spins, a = _random((2, 6, 3), dtype), _random((num,), dtype, 1)
    got = smear(spins, a, identity=identity)
    want = _by_definition(spins, a, identity)
    bound = 8 * EPS * (2 * num + 1) * float(np.abs(spins).max() * np.abs(a).max() + 4)
    np.testing.assert_allclose(got, want, rtol=0, atol=bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("lattice", LATTICES, ids=lambda lattice: str(lattice.shape))
@pytest.mark.parametrize("num", [1, None])
def test_lattice_agrees_with_dense_matrices(
    num: int | None, lattice: BravaisLattice, derivative: str, dtype: type
) -> None:
    """Map, pullback to the spins (A_s is symmetric) and to the coefficients."""
    num = num or lattice.num_shells
    spins = _random((2, *lattice.shape, 3), dtype)
    a, g = _random((num,), dtype, 1), _random(spins.shape, dtype, 2)
    flat, flat_g = (np.asarray(x).reshape(2, -1, 3) for x in (spins, g))
    shells = _matrices(lattice, num)
    neighbors = np.einsum("sij,bjk->sbik", shells, flat)
    want = flat + np.einsum("s,sbik->bik", a, neighbors)
    want_spins = flat_g + np.einsum("s,sij,bjk->bik", a, shells, flat_g)
    want_a = np.einsum("bik,sbik->s", flat_g, neighbors)
    bound = 64 * EPS * float(np.abs(neighbors).max() * np.abs(flat_g).sum())

    @jax.jit
    def both(spins: jax.Array, a: jax.Array, g: jax.Array) -> tuple:
        options = {"lattice": lattice, "derivative": derivative}
        value, pull = jax.vjp(lambda s, a: smear(s, a, **options), spins, a)
        return value, *pull(g)

    got = [np.asarray(x) for x in both(spins, a, g)]
    for left, right in zip(got, (want, want_spins, want_a), strict=True):
        np.testing.assert_allclose(left.ravel(), right.ravel(), rtol=0, atol=bound)


@pytest.mark.parametrize("derivative", ["custom_vjp", "both_modes"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_pullback_passes_its_own_check(derivative: str, dtype: type) -> None:
    def smeared(spins: jax.Array, coefficients: jax.Array) -> jax.Array:
        return smear(spins, coefficients, derivative=derivative)

    spins, a = _random((5, 2), dtype), _random((3,), dtype, 1)
    assert check_pullback(smeared, spins, a, directions=1).is_passed


def test_plane_waves_are_eigenvectors() -> None:
    """exp(ikj) is multiplied by 1 + 2 sum_l a_l cos(kl)."""
    sites, a = 12, jnp.array([0.3, -0.2, 0.1])
    momenta = 2 * np.pi * np.arange(sites) / sites
    waves = jnp.asarray(np.exp(1j * momenta[:, None] * np.arange(sites)))[..., None]
    steps = np.arange(1, 4)
    factor = 1 + 2 * np.cos(momenta[:, None] * steps) @ np.asarray(a)
    want = factor[:, None, None] * np.asarray(waves)
    # Coefficients may be real for complex spins; 7 terms of order 1.
    np.testing.assert_allclose(smear(waves, a), want, rtol=0, atol=32 * EPS)


def test_real_coefficients_of_complex_spins_have_a_real_gradient() -> None:
    spins, a = _random((6, 2), np.complex128), jnp.array([0.3, 0.2])
    for derivative in DERIVATIVES:
        gradient = jax.grad(
            lambda a: jnp.sum(jnp.abs(smear(spins, a, derivative=derivative)) ** 2)  # noqa: B023
        )(a)
        assert gradient.dtype == np.float64
        shifted = np.stack(
            [np.roll(spins, s, 0) + np.roll(spins, -s, 0) for s in (1, 2)]
        )
        smeared = np.asarray(spins) + np.tensordot(np.asarray(a), shifted, 1)
        want = 2 * np.real(np.sum(smeared.conj() * shifted, axis=(1, 2)))
        np.testing.assert_allclose(gradient, want, rtol=1e3 * EPS)


def test_antipode_counts_twice_on_the_chain_and_once_on_the_lattice() -> None:
    spins, a = _random((6, 1), np.float64), jnp.array([0.0, 0.0, 1.0])
    opposite = np.roll(spins, 3, axis=0)
    np.testing.assert_array_equal(smear(spins, a, identity=False), 2 * opposite)
    once = smear(spins, a, identity=False, lattice=chain(6))
    np.testing.assert_array_equal(once, opposite)


@pytest.mark.parametrize("derivative", DERIVATIVES)
def test_leading_axes_vmap_and_jit_agree(derivative: str) -> None:
    spins, a = _random((2, 3, 5, 2), np.float64), jnp.array([0.3, -0.2])
    one = lambda s: smear(s, a, derivative=derivative)  # noqa: E731
    want = smear(spins, a)
    batched = jax.jit(jax.vmap(jax.vmap(one)))(spins)
    np.testing.assert_allclose(batched, want, rtol=8 * EPS, atol=8 * EPS)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_single_precision_stays_single(dtype: type) -> None:
    spins, a = jnp.ones((4, 2), dtype), jnp.ones(1, dtype)
    assert smear(spins, a).dtype == dtype
    gradient = jax.grad(lambda a: smear(spins, a).sum().real)(a)
    assert gradient.dtype == dtype


def test_residuals_hold_the_spins_once() -> None:
    spins, a = jnp.zeros((1000, 3)), jnp.ones(4)
    _, pull = jax.vjp(smear, spins, a)
    kept = sum(x.nbytes for x in jax.tree.leaves(pull) if hasattr(x, "nbytes"))
    assert spins.nbytes <= kept <= spins.nbytes + 16 * a.nbytes


@pytest.mark.parametrize(
    ("spins", "a", "options", "error", "words"),
    [
        (jnp.ones((4, 1)), jnp.ones((2, 1)), {}, ValueError, "as a vector"),
        (jnp.ones((4, 1)), jnp.array(1.0), {}, ValueError, "as a vector"),
        (jnp.ones((4, 1)), jnp.ones(0), {}, ValueError, "at least one number"),
        (jnp.ones((0, 3)), jnp.ones(1), {}, ValueError, "at least one site"),
        (jnp.ones((4, 0)), jnp.ones(1), {}, ValueError, "one component"),
        (jnp.ones(4), jnp.ones(1), {}, ValueError, r"spins\[..., None\]"),
        (jnp.ones((4, 1), int), jnp.ones(1), {}, TypeError, "astype"),
        (jnp.ones((4, 1), "float32"), jnp.ones(1), {}, TypeError, "float64"),
        (jnp.ones((4, 1)), jnp.ones(1, complex), {}, TypeError, "complex128"),
        (jnp.ones((4, 1)), jnp.ones(1, int), {}, TypeError, "int64"),
        (jnp.ones((4, 1)), jnp.ones(3), {"lattice": chain(4)}, ValueError, "2 shells"),
        (jnp.ones((4, 1)), jnp.ones(1), {"lattice": chain(5)}, ValueError, r"\(5,\)"),
        (jnp.ones((4, 1)), jnp.ones(1), {"derivative": "no"}, ValueError, "'no'"),
    ],
)
def test_bad_input_is_refused_at_trace_time(
    spins: jax.Array, a: jax.Array, options: dict, error: type, words: str
) -> None:
    with pytest.raises(error, match=words):
        jax.eval_shape(lambda s, a: smear(s, a, **options), spins, a)


def test_module_is_a_thin_skin() -> None:
    layer = Smearing(2, identity=False, rngs=nnx.Rngs(0))
    spins = _random((5, 3), np.float64)
    assert layer.coefficients[...].dtype == np.float64
    want = smear(spins, layer.coefficients[...], identity=False)
    np.testing.assert_array_equal(layer(spins), want)
    with pytest.raises(ValueError, match="num_neighbors >= 1"):
        Smearing(0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="at most 2 shells"):
        Smearing(3, lattice=chain(4), rngs=nnx.Rngs(0))
