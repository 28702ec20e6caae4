"""Double exchange against matrices written site by site, bands, and two sites."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.hamiltonians import DoubleExchange, random_spins
from physml.lattices import BravaisLattice, chain, cubic, square, triangular
from physml.pullbacks import check_pullback

EPS = np.finfo(np.float64).eps
LATTICES = (chain(5), square(3, 4), triangular(4, 3), cubic(3, 3, 3))
SMALL = (chain(1), chain(2), square(2, 3), triangular(2, 2))
STEPS = {
    1: [(1,)],
    2: [(1, 0), (0, 1)],
    3: [(1, 0, 0), (0, 1, 0), (0, 0, 1)],
}


def spins_on(lattice: BravaisLattice, *batch: int, seed: int = 0) -> jax.Array:
    count = int(np.prod(batch)) * lattice.num_sites
    spins = random_spins(jax.random.key(seed), count)
    return spins.reshape(*batch, *lattice.shape, 3)


def all_up(lattice: BravaisLattice) -> jax.Array:
    return jnp.zeros((*lattice.shape, 3)).at[..., 2].set(1.0)


def steps_of(lattice: BravaisLattice) -> list[tuple[int, ...]]:
    """Half of the nearest neighbors; the triangular lattice has a third direction."""
    is_triangular = lattice.primitive_vectors[-1][0] == 0.5
    return STEPS[lattice.dimension] + ([(1, -1)] if is_triangular else [])


def dense_matrix(
    lattice: BravaisLattice, spins: np.ndarray, t: float, j: float, mu: float
) -> np.ndarray:
    """Return H, written site by site."""
    n = lattice.num_sites
    h = np.zeros((2 * n, 2 * n), complex)
    for i, site in enumerate(np.ndindex(*lattice.shape)):
        x, y, z = spins[site]
        h[2 * i, 2 * i] += j / 2 * z - mu
        h[2 * i + 1, 2 * i + 1] += -j / 2 * z - mu
        h[2 * i, 2 * i + 1] += j / 2 * (x - 1j * y)
        h[2 * i + 1, 2 * i] += j / 2 * (x + 1j * y)
        for step in steps_of(lattice):
            k = int(np.ravel_multi_index(np.add(site, step), lattice.shape, "wrap"))
            for s in range(2):
                h[2 * k + s, 2 * i + s] -= t
                h[2 * i + s, 2 * k + s] -= t
    return h


def exact_free_energy(h: np.ndarray, temperature: float) -> float:
    levels = np.linalg.eigvalsh(h)
    return -temperature * np.sum(np.logaddexp(0, -levels / temperature))


@pytest.mark.parametrize("lattice", LATTICES + SMALL, ids=lambda x: str(x.shape))
def test_matrix_and_free_energy_site_by_site(lattice: BravaisLattice) -> None:
    spins = spins_on(lattice, 2)
    model = DoubleExchange(lattice, 0.7, 1.3, -0.2)
    matrices = model.matrix(spins)
    energies = model.free_energy(spins, 0.05)
    assert matrices.dtype == jnp.complex128
    assert energies.shape == (2,)
    for k in range(2):
        want = dense_matrix(lattice, np.asarray(spins[k]), 0.7, 1.3, -0.2)
        np.testing.assert_allclose(matrices[k], want, rtol=0, atol=8 * EPS)
        np.testing.assert_allclose(
            energies[k], exact_free_energy(want, 0.05), rtol=64 * EPS
        )


@pytest.mark.parametrize("lattice", LATTICES + SMALL, ids=lambda x: str(x.shape))
def test_ferromagnet_is_two_shifted_bands(lattice: BravaisLattice) -> None:
    """E = -2t sum cos(k.d) -+ J/2: the convention of small lattices is Bloch's sum."""
    k = [2 * np.pi * np.arange(n) / n for n in lattice.shape]
    waves = np.meshgrid(*k, indexing="ij")
    band = sum(
        -2 * 0.8 * np.cos(sum(d * q for d, q in zip(step, waves, strict=True)))
        for step in steps_of(lattice)
    )
    levels = np.concatenate([band.ravel() - 0.55, band.ravel() + 0.55]) - 0.3
    want = -0.1 * np.sum(np.logaddexp(0, -levels / 0.1))
    model = DoubleExchange(lattice, hopping=0.8, coupling=1.1, chemical_potential=0.3)
    got = model.free_energy(all_up(lattice), 0.1)
    np.testing.assert_allclose(got, want, rtol=64 * EPS)


def test_two_sites_by_hand() -> None:
    """A ring of two has the hopping 2t; spins at an angle theta mix its two bands.

    H^2 for mu = 0 has the levels (2t)^2 + h^2 +- 4t h cos(theta / 2), h = J / 2.
    """
    theta, t, h = 1.1, 0.6, 0.45
    spins = jnp.array([[0.0, 0.0, 1.0], [np.sin(theta), 0.0, np.cos(theta)]])
    root = np.sqrt(
        4 * t**2 + h**2 + 4 * t * h * np.cos(theta / 2) * np.array([1.0, -1.0])
    )
    levels = np.concatenate([-root, root])
    model = DoubleExchange(chain(2), hopping=t, coupling=2 * h)
    got = jnp.linalg.eigvalsh(model.matrix(spins))
    np.testing.assert_allclose(got, np.sort(levels), rtol=0, atol=16 * EPS)


def test_one_site_does_not_see_its_direction() -> None:
    """Levels -2t +- J/2 - mu, whatever S is."""
    levels = np.array([-2 - 0.5, -2 + 0.5])
    want = -0.2 * np.sum(np.logaddexp(0, -levels / 0.2))
    model = DoubleExchange(chain(1))
    got = model.free_energy(spins_on(chain(1), 3), 0.2)
    np.testing.assert_allclose(got, np.full(3, want), rtol=16 * EPS)


def test_rotations_reflections_and_translations_change_nothing() -> None:
    lattice, model = square(3, 4), DoubleExchange(square(3, 4), chemical_potential=0.3)
    spins = spins_on(lattice)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    images = jnp.stack(
        [spins, spins @ turn, -spins, jnp.roll(spins, 1, 0), jnp.flip(spins, 1)]
    )
    energies = model.free_energy(images, 0.05)
    np.testing.assert_allclose(energies, np.full(5, energies[0]), rtol=64 * EPS)


def test_half_filling_of_a_bipartite_lattice() -> None:
    """Levels come in pairs E, -E: chemical potential 0 holds one electron a site."""
    lattice = square(4, 2)
    number = DoubleExchange(lattice).electron_number(spins_on(lattice), 0.1)
    np.testing.assert_allclose(number, 8.0, rtol=64 * EPS)


def free_energy(
    model: DoubleExchange,
    spins: jax.Array,
    temperature: jax.Array,
    derivative: str = "custom_vjp",
) -> jax.Array:
    return model.free_energy(spins, temperature, derivative=derivative)


def numbers(lattice: BravaisLattice) -> DoubleExchange:
    return DoubleExchange(lattice, jnp.array(0.7), jnp.array(1.3), jnp.array(-0.2))


@pytest.mark.parametrize("lattice", [chain(3), triangular(2, 3)], ids=str)
def test_pullback_passes_its_own_check(lattice: BravaisLattice) -> None:
    arguments = (numbers(lattice), spins_on(lattice, 2), jnp.array(0.3))
    assert check_pullback(free_energy, *arguments, directions=1).is_passed


def test_gradient_is_hellmann_feynman() -> None:
    """dF/dS_i = J/2 tr(rho_ii sigma), dF/dmu = -N, dF/dT = -S, from NumPy's levels."""
    lattice, temperature = square(2, 3), 0.2
    model, spins = numbers(lattice), spins_on(lattice)
    gradients = jax.jit(jax.grad(free_energy, (0, 1, 2)))(
        model, spins, jnp.array(temperature)
    )
    h = dense_matrix(lattice, np.asarray(spins), 0.7, 1.3, -0.2)
    levels, vectors = np.linalg.eigh(h)
    filled = 1 / (1 + np.exp(levels / temperature))
    density = (vectors * filled) @ vectors.conj().T
    sigma = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    blocks = np.einsum("iaib->iab", density.reshape(6, 2, 6, 2))
    force = 0.65 * np.einsum("kab,iba->ik", sigma, blocks).real
    np.testing.assert_allclose(gradients[1].reshape(6, 3), force, atol=64 * EPS)
    np.testing.assert_allclose(
        gradients[0].chemical_potential, -filled.sum(), rtol=64 * EPS
    )
    entropy = -np.sum(filled * np.log(filled) + (1 - filled) * np.log(1 - filled))
    np.testing.assert_allclose(gradients[2], -entropy, rtol=256 * EPS)
    np.testing.assert_allclose(
        model.entropy(spins, temperature), entropy, rtol=256 * EPS
    )
    number = model.electron_number(spins, temperature)
    np.testing.assert_allclose(number, filled.sum(), rtol=64 * EPS)


def test_degenerate_levels_have_a_finite_gradient() -> None:
    """On the ferromagnet each force is J/2 tr(rho sigma_z), along the spins."""
    lattice = square(4, 4)
    gradient = jax.grad(free_energy, 1)(numbers(lattice), all_up(lattice), 0.05)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient[..., :2], np.zeros((4, 4, 2)), atol=64 * EPS)
    force = np.full((4, 4), gradient[0, 0, 2])
    np.testing.assert_allclose(gradient[..., 2], force, atol=64 * EPS)
    assert gradient[0, 0, 2] < 0


@pytest.mark.parametrize("temperature", [1e-6, 1e3])
def test_cold_and_hot_electrons(temperature: float) -> None:
    """F becomes the sum of the negative levels, or -2n T ln 2."""
    lattice, spins = chain(3), spins_on(chain(3))
    model = DoubleExchange(lattice)
    levels = np.linalg.eigvalsh(dense_matrix(lattice, np.asarray(spins), 1, 1, 0))
    cold = levels[levels < 0].sum()
    hot = -6 * 1e3 * np.log(2) + levels.sum() / 2 - np.sum(levels**2) / 8e3
    want = cold if temperature < 1 else hot
    got, gradient = jax.value_and_grad(free_energy, 2)(model, spins, temperature)
    np.testing.assert_allclose(got, want, rtol=1e-12)
    assert np.isfinite(gradient)


def test_jit_vmap_batches_and_float32() -> None:
    lattice = chain(4)
    model, spins = DoubleExchange(lattice), spins_on(lattice, 2, 3)
    want = model.free_energy(spins, 0.1)
    assert want.shape == (2, 3)
    at = jax.jit(jax.vmap(lambda t: model.free_energy(spins, t)))(jnp.array([0.1, 0.2]))
    np.testing.assert_allclose(at[0], want, rtol=64 * EPS)
    single = model.free_energy(spins.astype(jnp.float32), 0.1)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, want, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda s: 1.1 * s, ValueError, "unnormalized spins"),
        (lambda s: s.at[0, 0].set(jnp.nan), ValueError, "NaN or infinity"),
        (lambda s: s[:3], ValueError, r"lattice of shape \(4,\)"),
        (lambda s: s[:, :2], ValueError, "three components"),
        (lambda s: s.astype(complex), TypeError, "real spins"),
        (lambda s: s.astype(int), TypeError, "int64"),
    ],
)
def test_bad_spins_are_refused(change: object, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        DoubleExchange(chain(4)).matrix(change(all_up(chain(4))))  # type: ignore[operator]


@pytest.mark.parametrize("temperature", [0.0, -1.0, np.nan, 1j, np.ones(2)])
def test_bad_temperatures_are_refused(temperature: object) -> None:
    with pytest.raises(ValueError, match="temperature"):
        DoubleExchange(chain(4)).free_energy(all_up(chain(4)), temperature)  # type: ignore[arg-type]


def test_bad_numbers_and_forward_mode_are_refused() -> None:
    spins = all_up(chain(4))
    with pytest.raises(ValueError, match="coupling of finite numbers"):
        DoubleExchange(chain(4), coupling=np.nan).matrix(spins)
    energy = partial(DoubleExchange(chain(4)).free_energy, temperature=0.1)
    with pytest.raises(TypeError, match="free_energy"):
        jax.jvp(energy, (spins,), (spins,))
