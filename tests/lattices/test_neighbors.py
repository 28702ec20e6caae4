"""Sums over neighbors on lattices large enough for every path of the kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from physml.lattices import BravaisLattice, chain, cubic, square, triangular
from physml.lattices.neighbors import (
    LARGE,
    LONG,
    neighbor_products,
    neighbor_sum,
    shell_displacements,
)

EPS = np.finfo(np.float64).eps
# Below LONG, between LONG and LARGE, and above LARGE, where products read the field in
# place; one shell and several; an axis too short for a seam.
CASES = [
    (chain(50), (), 4),
    (chain(5_000), (), 4),
    (chain(40_000), (), 1),
    (chain(40_000), (), 5),
    (chain(20_001), (2,), 3),
    (square(200, 201), (), 3),
    (square(2, 60_000), (), 4),
    (triangular(150, 240), (), 2),
    (cubic(33, 34, 35), (), 2),
    (cubic(12, 10, 11), (30,), 2),
]


def _rolled(field: np.ndarray, shell: tuple, dimension: int) -> np.ndarray:
    axes = tuple(range(field.ndim - 1 - dimension, field.ndim - 1))
    return sum(np.roll(field, [-d for d in step], axes) for step in shell)


@pytest.mark.parametrize(
    ("lattice", "batch", "count"),
    CASES,
    ids=[f"{c[0].shape}-{c[1]}-{c[2]}" for c in CASES],
)
def test_sums_and_products_agree_with_numpy_rolls(
    lattice: BravaisLattice, batch: tuple, count: int
) -> None:
    random = np.random.default_rng(0)
    shape = (*batch, *lattice.shape, 3)
    left, right = random.normal(size=shape), random.normal(size=shape)
    a = random.normal(size=count)
    shells = shell_displacements(count, lattice)
    sums = [_rolled(right, shell, lattice.dimension) for shell in shells]
    terms = sum(len(shell) for shell in shells)
    largest = max(float(np.abs(s).max()) for s in sums)

    bound = EPS * terms * largest * float(np.abs(a).sum() + 1)
    for identity in (False, True):
        got = neighbor_sum(
            jnp.asarray(right), jnp.asarray(a), shells, identity=identity
        )
        want = sum(x * s for x, s in zip(a, sums, strict=True)) + identity * right
        np.testing.assert_allclose(got, want, rtol=0, atol=bound)

    for keep_batch in (False, True):
        got = neighbor_products(
            jnp.asarray(left), jnp.asarray(right), shells, keep_batch=keep_batch
        )
        axes = tuple(range(len(batch) if keep_batch else 0, left.ndim))
        want = np.stack([np.sum(left * s, axis=axes) for s in sums], axis=-1)
        # A sum of N terms of random sign is rounded like a walk of N steps that
        # starts anew at most N times: eps N times the size of a term, at worst.
        bound = EPS * left.size * largest
        np.testing.assert_allclose(got, want, rtol=0, atol=bound)


def test_the_cases_cover_every_path() -> None:
    sizes = [int(np.prod((*c[1], *c[0].shape))) * 3 for c in CASES]
    assert min(sizes) < LONG < LARGE < max(sizes)
    assert any(LONG < size < LARGE for size in sizes)
    assert {count > 1 for _, _, count in CASES} == {True, False}


@pytest.mark.parametrize("shape", [(40_000,), (200, 201)], ids=str)
def test_the_sum_is_symmetric(shape: tuple[int, ...]) -> None:
    """<x, A y> = <A x, y>, the identity on which every pullback rests."""
    lattice = chain(*shape) if len(shape) == 1 else square(*shape)
    shells = shell_displacements(3, lattice)
    keys = jax.random.split(jax.random.key(0))
    x, y = (jax.random.normal(key, (*shape, 1)) for key in keys)
    a = jnp.array([0.5, -0.3, 0.2])
    left = jnp.vdot(x, neighbor_sum(y, a, shells))
    right = jnp.vdot(neighbor_sum(x, a, shells), y)
    # sqrt(N) terms of order 1 survive in the sum; each side rounds like it.
    bound = 64 * EPS * x.size**0.5 * x.size**0.5
    np.testing.assert_allclose(left, right, rtol=0, atol=bound)
