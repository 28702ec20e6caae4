"""Time the parts of effective spin models, value and gradient, in several forms.

    taskset -c 0 python benchmarks/effective_models.py
    python benchmarks/effective_models.py --quick

All tables have microseconds for each configuration; the gradient is that with respect
to the spins, as Hamiltonian trajectories take it. Contenders take turns; ratios are
taken within a turn. Every gradient is compared with that of the first contender.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from greens_functions import timed
from reporting import markdown_table, report, spread

from physml.hamiltonians import LinearSpinModel, random_equivariant_model, random_spins
from physml.lattices import PairShells, pair_matrix, pair_shells, square
from physml.layers import SpinLayerKind, block_spins, smear
from physml.precision import enable_x64
from physml.pullbacks import with_pullback

Contender = Callable[[jax.Array], jax.Array]
SHELLS = 6
LAYERS: dict[str, tuple[SpinLayerKind, int]] = {
    "convolution, 1 layer": ("convolution", 1),
    "attention, 1 layer": ("attention", 1),
    "biased attention, 1 layer": ("biased_attention", 1),
    "attention, 2 layers": ("attention", 2),
    "attention, 4 layers": ("attention", 4),
}


@dataclass(frozen=True)
class Options:
    """Time effective spin models."""

    quick: bool = False
    """One lattice, one turn."""
    sides: tuple[int, ...] = (6, 8, 10)
    """Sides of the square lattices."""
    batches: tuple[int, ...] = (1, 16, 128)
    """Configurations at once."""
    rounds: int = 5
    """Turns."""
    out: Path | None = None
    """Folder for effective_models.md and effective_models.json."""


def sums_over_shells(pairs: PairShells, weights: jax.Array) -> dict[str, Contender]:
    """Return block spins in several forms, each summed to one number with squares."""
    axes = (-3, -2)

    def rolled(spins: jax.Array) -> jax.Array:
        total = weights[0] * spins
        for weight, shell in zip(weights[1:], pairs.displacements, strict=True):
            total += weight * sum(jnp.roll(spins, step, axes) for step in shell)
        return total

    # `smear` counts a site once; where it has two images its weight is twice as large
    once = [shell.displacements for shell in pairs.lattice.shells(SHELLS)]
    images = [len(a) / len(b) for a, b in zip(pairs.displacements, once, strict=True)]
    of_sites = weights[1:] * jnp.asarray(images)

    def shifted(spins: jax.Array) -> jax.Array:
        rest = smear(spins, of_sites, lattice=pairs.lattice, identity=False)
        return weights[0] * spins + rest

    def from_the_left(spins: jax.Array) -> jax.Array:
        rows = jnp.reshape(spins, (len(spins), -1, 3))  # (batch, sites, components)
        return jnp.reshape(pair_matrix(weights, pairs) @ rows, spins.shape)

    forms: dict[str, Contender] = {
        "matrix from the right (physml)": lambda s: block_spins(s, weights, pairs),
        "matrix from the left": from_the_left,
        "`smear`, slices": shifted,
        "`jnp.roll`": rolled,
    }
    return {name: squared(form) for name, form in forms.items()}


def squared(form: Contender) -> Contender:
    """Return the sum of the squares of what a function returns."""
    return lambda spins: jnp.sum(form(spins) ** 2)


def attentions() -> dict[str, Contender]:
    """Return relu(Q . K) V of spins (batch, components, sites) in several forms."""

    def plain(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return v @ jax.nn.relu(jnp.einsum("bcj,bci->bji", k, q))

    def forward(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple:
        scores = jax.nn.relu(jnp.einsum("bcj,bci->bji", k, q))
        return v @ scores, (q, k, v, scores)

    def backward(kept: tuple, g: jax.Array) -> tuple:
        q, k, v, scores = kept
        products = jnp.einsum("bcj,bci->bji", v, g)
        scores_bar = jnp.where(scores > 0, products, jnp.zeros_like(scores))
        q_bar, k_bar = k @ scores_bar, jnp.einsum("bci,bji->bcj", q, scores_bar)
        return q_bar, k_bar, jnp.einsum("bci,bji->bcj", g, scores)

    by_hand = with_pullback(plain, backward, forward)
    forms = {
        "JAX's own pullback (physml)": plain,
        "by hand, scores kept": by_hand,
        "JAX's own, scores made again": jax.checkpoint(plain),
    }
    return {name: of_three_parts(form) for name, form in forms.items()}


def of_three_parts(form: Callable[..., jax.Array]) -> Contender:
    """Return the sum of squares as a function of one array, cut into Q, K and V."""
    return lambda qkv: jnp.sum(form(*jnp.split(qkv, 3, axis=1)) ** 2)


def models(pairs: PairShells) -> dict[str, Contender]:
    """Return the sums of the energies of whole models."""
    couplings = jnp.linspace(1.0, 0.1, SHELLS)
    linear = LinearSpinModel(jnp.array(0.0), couplings, pairs)
    found: dict[str, Contender] = {"linear": lambda spins: jnp.sum(linear(spins))}
    for name, (kind, num_layers) in LAYERS.items():
        model = random_equivariant_model(
            jax.random.key(0), linear, kind=kind, num_layers=num_layers
        )
        found[name] = lambda spins, model=model: jnp.sum(model(spins))  # type: ignore[misc]
    return found


def measured(
    contenders: dict[str, Contender], array: jax.Array, rounds: int, *, same: bool
) -> dict[str, list[float]]:
    """Return microseconds for each configuration of value and gradient, each turn."""
    compiled = {name: jax.jit(jax.value_and_grad(f)) for name, f in contenders.items()}
    results = [np.asarray(run(array)[1]) for run in compiled.values()]
    if same:
        for found in results:
            np.testing.assert_allclose(found, results[0], rtol=1e-9, atol=1e-9)
    repeats = max(3, 512 // len(array))

    def repeated(run: Callable) -> Callable[[], None]:
        def many() -> None:
            for _ in range(repeats):
                result = run(array)
            jax.block_until_ready(result)

        return many

    programs = {name: repeated(run) for name, run in compiled.items()}
    scale = 1e6 / repeats / len(array)
    return {
        name: [t * scale for t in times]
        for name, times in timed(programs, rounds).items()
    }


def table(rows: dict[str, dict[str, list[float]]]) -> str:
    """Return a table of medians, and of ratios to the first column."""
    names = list(next(iter(rows.values())))
    lines = []
    for title, times in rows.items():
        first = np.array(times[names[0]])
        ratios = [spread(np.array(times[name]) / first) for name in names[1:]]
        lines.append([title, spread(first), *ratios])
    headings = ["sites, batch", f"{names[0]}, us"]
    headings += [f"{name}, times the first" for name in names[1:]]
    return markdown_table(headings, lines)


def main(options: Options) -> None:
    """Measure and print the tables."""
    enable_x64()
    sides = options.sides[:1] if options.quick else options.sides
    rounds = 1 if options.quick else options.rounds
    titles = ("Sums over six shells", "Attention", "Whole models")
    data: dict[str, dict] = {title: {} for title in titles}
    for side in sides:
        pairs = pair_shells(square(side, side), SHELLS)
        weights = jnp.linspace(1.0, -0.5, SHELLS + 1)
        for batch in options.batches:
            spins = random_spins(jax.random.key(1), batch * side**2)
            spins = jnp.reshape(spins, (batch, side, side, 3))
            qkv = jax.random.normal(jax.random.key(2), (batch, 9, side**2))
            name = f"{side} x {side}, {batch}"
            for title, contenders, array in (
                (titles[0], sums_over_shells(pairs, weights), spins),
                (titles[1], attentions(), qkv),
                (titles[2], models(pairs), spins),
            ):
                same = title != titles[2]
                data[title][name] = measured(contenders, array, rounds, same=same)
    tables = {title: table(rows) for title, rows in data.items()}
    report(options.out, "effective_models", tables, data)


if __name__ == "__main__":
    main(tyro.cli(Options))
