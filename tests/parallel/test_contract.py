"""What every communicator does, compared with closed forms and dense calculations.

Run as it stands this tests the serial one; tests/parallel/test_ranks.py runs it under
mpirun and over devices. Nothing here depends on the kind of communicator.
"""

import math
import resource
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rank_programs import on_each_rank

from physml.parallel.checks import check_collectives

DTYPES = ("float32", "float64", "complex64", "complex128", "int32", "int64")


def from_zero_to(size):
    return size * (size - 1) // 2


def scalar(value, dtype):
    return jnp.asarray(value).astype(dtype)


# Sums


@pytest.mark.parametrize("dtype", DTYPES)
def test_sum(communicator, dtype):
    def program():
        rank = scalar(communicator.rank, dtype)
        return communicator.sum({"scalar": rank, "rows": jnp.full((2, 3), 2 * rank)})

    sums = communicator.spmd(program)()
    exact = from_zero_to(communicator.size)
    assert sums["scalar"].dtype == sums["rows"].dtype == dtype
    np.testing.assert_array_equal(sums["scalar"], exact)
    np.testing.assert_array_equal(sums["rows"], np.full((2, 3), 2 * exact))


def test_sum_of_all_dtypes_and_shapes_in_one_tree(communicator):
    def program():
        leaves = {name: scalar(communicator.rank, name) for name in DTYPES}
        empty = {"rows": jnp.zeros((0, 3)), "counts": jnp.zeros(0, int)}
        return communicator.sum((leaves, empty, jnp.ones((1, 1)), None))

    leaves, empty, ones, nothing = communicator.spmd(program)()
    for name, leaf in leaves.items():
        assert leaf.dtype == name
        assert leaf == from_zero_to(communicator.size)
    assert empty["rows"].shape == (0, 3)
    assert empty["counts"].dtype == int
    np.testing.assert_array_equal(ones, [[communicator.size]])
    assert nothing is None


def test_sum_of_large_integers_is_exact(communicator):
    large = 2**60 + 1  # no float64
    program = communicator.spmd(
        lambda: communicator.sum((jnp.where(communicator.rank == 0, large, 0), 1.0))
    )
    assert int(program()[0]) == large


def test_sum_counts_booleans(communicator):
    program = communicator.spmd(lambda: communicator.sum(jnp.array([True, False])))
    np.testing.assert_array_equal(program(), [communicator.size, 0])


@pytest.mark.parametrize("make", [lambda: np.float16(1), lambda: jax.random.key(0)])
def test_what_cannot_be_sent_is_refused(communicator, make):
    program = communicator.spmd(lambda: communicator.sum(make()))
    with pytest.raises(TypeError, match="Expected integer, float32"):
        program()


def test_sums_are_bitwise_equal_on_all_ranks(communicator):
    def program():
        rank = jnp.asarray(communicator.rank, float)
        x = jnp.sin(jnp.arange(1.0, 1001) * (1 + rank))
        return jax.lax.bitcast_convert_type(communicator.sum(x / 3), jnp.int64)

    bits = on_each_rank(communicator, program)
    np.testing.assert_array_equal(bits, np.broadcast_to(bits[0], bits.shape))


def test_sums_do_not_depend_on_the_number_of_ranks(communicator):
    terms = np.sin(np.arange(10_007.0)) ** 2 / (1 + np.arange(10_007.0))

    def program(block):
        return communicator.sum(jnp.sum(block.values, where=block.mask))

    total = communicator.spmd(program)(communicator.divide(terms))
    np.testing.assert_allclose(total, math.fsum(terms), rtol=1e-13)


# Compiled loops


def test_loops_in_one_program(communicator):
    def grow(x):
        return communicator.sum(x) / 2

    def program(x):
        scanned, _ = jax.lax.scan(lambda x, _: (grow(x), None), x, length=4)
        looped = jax.lax.fori_loop(0, 4, lambda _, x: grow(x), x)
        bounded = jax.lax.while_loop(
            lambda carry: carry[1] < 4, lambda c: (grow(c[0]), c[1] + 1), (x, 0)
        )
        chosen = jax.lax.cond(jnp.sum(looped) > 0, grow, lambda x: x, x)
        return scanned, looped, bounded[0], chosen

    exact = (communicator.size / 2) ** 4
    *loops, chosen = communicator.spmd(program)(jnp.ones(2))
    for result in loops:
        np.testing.assert_array_equal(result, [exact, exact])
    np.testing.assert_array_equal(chosen, [communicator.size / 2] * 2)


def test_a_loop_ends_at_the_same_step_on_all_ranks(communicator):
    def program():
        mine = 1 + jnp.asarray(communicator.rank, float)

        def halve(carry):
            steps, x = carry
            return steps + 1, communicator.sum(x * mine) / communicator.sum(2 * mine)

        return jax.lax.while_loop(lambda c: c[1] > 1e-6, halve, (0, jnp.ones(())))[0]

    np.testing.assert_array_equal(
        on_each_rank(communicator, program), [20] * communicator.size
    )


def test_program_is_traced_once(communicator):
    traces = []

    def program(x):
        traces.append(x)
        return jax.grad(lambda y: communicator.sum(communicator.replicate(y)) ** 2)(x)

    compiled = communicator.spmd(program)
    first, second = compiled(1.0), compiled(2.0)
    assert len(traces) == 1
    assert (first, second) == (2 * communicator.size**2, 4 * communicator.size**2)


def test_ten_thousand_reductions_leak_nothing(communicator):
    def mean(x):
        return communicator.sum(x) / communicator.size

    loop = communicator.spmd(
        lambda x: jax.lax.fori_loop(0, 100, lambda _, x: mean(x), x)
    )
    # a call is slow where ranks share cores; one rank under MPI makes the same calls,
    # and a call that is compiled again leaks 1.4 MiB
    num_single = 10_000 if communicator.size == 1 else 100
    calls = [(loop, 100), (communicator.spmd(mean), num_single)]
    if communicator.name != "sharded":  # there a sum stands in a program only
        calls.append((mean, num_single))
    for call, num_calls in calls:
        x = call(call(jnp.ones(16)))
        before = resident_mebibytes()
        for _ in range(num_calls):
            x = call(x)
        np.testing.assert_array_equal(x, np.ones(16))
        assert resident_mebibytes() - before < 10


def resident_mebibytes():
    """Return the memory in use; where the system does not tell, its peak so far."""
    now = Path("/proc/self/statm")
    if now.exists():
        return int(now.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# To a neighbor


@pytest.mark.parametrize("step", [1, -1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
def test_shift_moves_arrays_around_the_ring(communicator, step, dtype):
    def program():
        rank = scalar(communicator.rank, dtype)
        return communicator.shift(
            {"scalar": rank, "rows": jnp.full((2, 3), rank)}, step
        )

    shifted = on_each_rank(communicator, program)
    exact = np.roll(np.arange(communicator.size), step)
    assert shifted["scalar"].dtype == dtype
    np.testing.assert_array_equal(shifted["scalar"], exact)
    np.testing.assert_array_equal(shifted["rows"][:, 1, 2], exact)


def test_shift_in_a_loop(communicator):
    def program():
        rank = jnp.asarray(communicator.rank, float)
        num_steps = communicator.size + 1
        return jax.lax.fori_loop(
            0, num_steps, lambda _, x: communicator.shift(x, 1), rank
        )

    exact = np.roll(np.arange(communicator.size), 1)
    np.testing.assert_array_equal(on_each_rank(communicator, program), exact)


# From one rank to all


def test_broadcast_from_every_rank(communicator):
    def from_root(root):
        is_root = jnp.asarray(communicator.rank == root)
        tree = {"x": jnp.where(is_root, root, jnp.nan), "is_root": is_root}
        return communicator.broadcast(tree, root=root)

    roots = range(communicator.size)
    results = on_each_rank(communicator, lambda: [from_root(root) for root in roots])
    for root, values in zip(roots, results, strict=True):
        np.testing.assert_array_equal(values["x"], [root] * communicator.size)
        assert np.all(values["is_root"])


def test_broadcast_from_no_rank_is_refused(communicator):
    size = communicator.size
    program = communicator.spmd(lambda: communicator.broadcast(1.0, root=size))
    with pytest.raises(ValueError, match="Expected a root from 0"):
        program()


# On the host


def test_host_objects(communicator):
    mine, count = communicator.process, communicator.num_processes
    assert 0 <= mine < count
    assert communicator.is_root == (mine == 0)
    gathered = communicator.gather_objects({"process": mine})
    assert gathered == [{"process": process} for process in range(count)]
    last = communicator.broadcast_object(("name", mine), root=count - 1)
    assert last == ("name", count - 1)
    communicator.barrier()


def test_host_rows_of_any_number(communicator):
    mine, count = communicator.process, communicator.num_processes
    rows = communicator.gather_rows(np.full((mine, 2), mine))
    exact = np.repeat(np.arange(count), np.arange(count))
    np.testing.assert_array_equal(rows, np.stack([exact, exact], axis=1))


def test_disagreement_is_told_on_every_rank(communicator):
    communicator.require_agreement({"steps": 400})
    if communicator.num_processes > 1:
        with pytest.raises(ValueError, match="steps = 0 on rank 0 and 1 on rank 1"):
            communicator.require_agreement({"steps": communicator.process})


def test_collectives_pass_their_own_checks(communicator):
    results = check_collectives(communicator)
    assert len(results) == 11
    assert all(results.values()), results
