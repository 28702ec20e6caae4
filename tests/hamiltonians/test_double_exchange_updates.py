"""Single-spin updates of double exchange against new diagonalizations by NumPy."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.hamiltonians import DoubleExchange, double_exchange_density, random_spins
from physml.lattices import BravaisLattice, chain, cubic, square, triangular
from physml.samplers.kernel import SpinState
from physml.samplers.local_density import LocalDensity, with_spin
from physml.samplers.metropolis import LocalMetropolis

EPS = np.finfo(np.float64).eps
CASES = {
    "chain(5)": (DoubleExchange(chain(5), 0.7, -1.3, 0.4), 0.3),
    "ring of one": (DoubleExchange(chain(1)), 0.1),
    "ring of two": (DoubleExchange(chain(2), 1.0, 4.0), 0.05),
    "square": (DoubleExchange(square(4, 4)), 0.05),
    "triangular": (DoubleExchange(triangular(3, 3), 1.0, 2.0, -0.5), 0.03),
    "no energy scale": (DoubleExchange(chain(3), 0.0, 0.0), 0.1),
    "cubic, hot": (DoubleExchange(cubic(2, 3, 2)), 20.0),
}


def spins_on(lattice: BravaisLattice, seed: int = 0) -> jax.Array:
    spins = random_spins(jax.random.key(seed), lattice.num_sites)
    return spins.reshape(*lattice.shape, 3)


def exact_log_density(
    model: DoubleExchange, temperature: float, spins: jax.Array
) -> float:
    levels = np.linalg.eigvalsh(np.asarray(model.matrix(spins)))
    return float(np.sum(np.logaddexp(0, -levels / temperature)))


def walk(num_moves: int, lattice: BravaisLattice) -> tuple[jax.Array, jax.Array]:
    """Return sites and new spins of random moves."""
    random = np.random.default_rng(1)
    sites = jnp.asarray(random.integers(0, lattice.num_sites, num_moves))
    return sites, random_spins(jax.random.key(7), num_moves)


@jax.jit
def follow(
    density: LocalDensity, spins: jax.Array, sites: jax.Array, new_spins: jax.Array
) -> tuple:
    """Accept every move; return the ratios and log densities on the way."""

    def step(carry: tuple, move: tuple) -> tuple:
        (spins, cache), (site, new_spin) = carry, move
        ratio = density.log_ratio(cache, spins, site, new_spin)
        cache = density.move(cache, spins, site, new_spin)
        spins = with_spin(spins, site, new_spin)
        return (spins, cache), (ratio, density.log_density(cache, spins), spins)

    start = (spins, density.start(spins))
    return jax.lax.scan(step, start, (sites, new_spins))


@pytest.mark.parametrize("name", CASES)
def test_ratios_are_those_of_new_diagonalizations(name: str) -> None:
    """The error is that of rounding F/T itself, and 1e-12 for each of 2n levels."""
    model, temperature = CASES[name]
    start = spins_on(model.lattice)
    density = double_exchange_density(model, temperature)
    moves = walk(12, model.lattice)
    (_, cache), (ratios, logs, path) = follow(density, start, *moves)
    exact = [exact_log_density(model, temperature, s) for s in (start, *path)]
    allowed = 1e-12 * 2 * model.lattice.num_sites + 16 * EPS * max(exact)
    np.testing.assert_allclose(ratios, np.diff(exact), rtol=0, atol=allowed)
    np.testing.assert_allclose(logs, exact[1:], rtol=0, atol=12 * allowed)
    again = density.start(path[-1])
    np.testing.assert_allclose(cache.elements, again.elements, rtol=0, atol=1e-12)


def test_drift_after_many_moves_stays_at_rounding() -> None:
    """1000 moves: the distance of G from a new inversion, and of -F/T."""
    model, temperature = DoubleExchange(chain(6), chemical_potential=0.2), 0.05
    density = double_exchange_density(model, temperature)
    start, moves = spins_on(model.lattice), walk(1000, model.lattice)
    (spins, cache), _ = follow(density, start, *moves)
    again = density.start(spins)
    np.testing.assert_allclose(cache.elements, again.elements, rtol=0, atol=1e-12)
    np.testing.assert_allclose(cache.log_density, again.log_density, rtol=0, atol=1e-10)


def test_a_move_to_the_same_spin_changes_nothing() -> None:
    model = DoubleExchange(square(2, 2))
    density = double_exchange_density(model, 0.1)
    spins = spins_on(model.lattice)
    cache = density.start(spins)
    site = jnp.array(3)
    assert density.log_ratio(cache, spins, site, spins[1, 1]) == 0.0
    moved = density.move(cache, spins, site, spins[1, 1])
    np.testing.assert_array_equal(moved.elements, cache.elements)


def test_both_methods_agree_under_jit_and_map() -> None:
    model, temperature = DoubleExchange(square(2, 3)), 0.05
    configurations = jnp.stack([spins_on(model.lattice, k) for k in range(2)])
    sites, new_spins = walk(2, model.lattice)

    @jax.jit
    def ratios(density: LocalDensity) -> jax.Array:
        def one(chain: tuple) -> jax.Array:
            spins, site, new_spin = chain
            return density.log_ratio(density.start(spins), spins, site, new_spin)

        return jax.lax.map(one, (configurations, sites, new_spins))

    got, want = (
        ratios(double_exchange_density(model, temperature, method=method))
        for method in ("greens_function", "diagonalization")
    )
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-11)


def test_chains_find_the_angle_of_two_spins() -> None:
    """On a ring of two F depends on the angle alone: its mean is one integral."""
    model, temperature = DoubleExchange(chain(2), 1.0, 6.0), 0.5
    cosines, weights = np.polynomial.legendre.leggauss(40)
    pairs = np.zeros((40, 2, 3))
    pairs[:, 0, 2], pairs[:, 1, 2] = 1, cosines
    pairs[:, 1, 0] = np.sqrt(1 - cosines**2)
    logs = [exact_log_density(model, temperature, jnp.asarray(p)) for p in pairs]
    weights = weights * np.exp(logs - np.max(logs))
    want = weights @ cosines / weights.sum()
    kernel = LocalMetropolis(double_exchange_density(model, temperature))

    def mean(key: jax.Array) -> jax.Array:
        def step(state: SpinState, key: jax.Array) -> tuple[SpinState, jax.Array]:
            state, _ = kernel.step(key, state, {"local": jnp.asarray(np.pi)})
            return state, state.spins[0] @ state.spins[1]

        keys = jax.random.split(key, 220)
        state = kernel.start(spins_on(model.lattice))
        return jnp.mean(jax.lax.scan(step, state, keys)[1][20:])

    means = jax.jit(jax.vmap(mean))(jax.random.split(jax.random.key(2), 64))
    error = np.std(means, ddof=1) / np.sqrt(64)
    assert error < 0.01
    assert abs(np.mean(means) - want) < 4 * error
    assert abs(want) > 30 * error


def test_another_model_compiles_nothing() -> None:
    calls = []

    @jax.jit
    def ratio(density: LocalDensity, spins: jax.Array) -> jax.Array:
        calls.append(1)
        cache = density.start(spins)
        return density.log_ratio(cache, spins, jnp.array(0), -spins[0])

    for coupling in (1.0, 1.01):
        model = DoubleExchange(chain(3), coupling=coupling)
        ratio(double_exchange_density(model, 0.05), spins_on(model.lattice))
    assert len(calls) == 1


@pytest.mark.parametrize("method", ["diagonalization", "greens_function"])
def test_a_known_density_inside_a_traced_program(method: str) -> None:
    density = double_exchange_density(DoubleExchange(chain(4)), 0.1, method=method)
    spins = jax.ShapeDtypeStruct((4, 3), jnp.zeros(()).dtype)
    shape = jax.eval_shape(lambda x: density.log_density(density.start(x), x), spins)
    assert shape.shape == ()


def test_nan_is_data() -> None:
    density = double_exchange_density(DoubleExchange(chain(3)), 0.05)
    spins = spins_on(chain(3))
    broken = jnp.full(3, jnp.nan)
    assert jnp.isnan(density.log_ratio(density.start(spins), spins, 0, broken))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda m: double_exchange_density(m, 0.0), "temperature T > 0"),
        (lambda m: double_exchange_density(m, np.nan), "temperature"),
        (
            lambda m: double_exchange_density(m, 0.1, method="secular"),
            "diagonalization",
        ),
        (lambda m: jax.jit(lambda t: double_exchange_density(m, t))(0.1), "known"),
    ],
)
def test_bad_input_is_refused(build: Callable, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build(DoubleExchange(chain(3)))
