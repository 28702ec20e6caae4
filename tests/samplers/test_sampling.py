"""The driver: burn-in, records, snapshots, failures; nothing is compiled twice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from spin_densities import observe, ring

from physml.samplers import (
    ChainRecords,
    Cycle,
    GlobalMetropolis,
    Hamiltonian,
    LocalMetropolis,
    SamplingOutcome,
    SelfLearning,
    StepSize,
    WholeDensity,
    compiled_chains,
    random_configurations,
    sample,
    sampling,
    snapshot_of,
)
from physml.training import load_checkpoint, save_checkpoint

EXACT, POOR = ring(4, 2.0), ring(4, 1.0)
LEARNED = SelfLearning(EXACT.function(), LocalMetropolis(POOR), num_inner=2)
START = random_configurations(jax.random.key(0), 6, (4,))


def run(kernel=LEARNED, spins=START, **options):
    defaults = {
        "key": jax.random.key(1),
        "num_sweeps": 40,
        "num_burn_in": 20,
        "observables": observe,
    }
    return sample(kernel, spins, **(defaults | options))


@pytest.fixture
def short_pieces(monkeypatch):
    """Let a piece end after one or a few records."""
    monkeypatch.setattr(sampling, "SECONDS_PER_PIECE", 1e-3)


def assert_equal(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_records_of_all_sweeps():
    result = run()
    records = result.records
    assert result.outcome == SamplingOutcome.FINISHED
    assert not result.outcome.is_failure
    np.testing.assert_array_equal(records.sweep, np.arange(1, 61))
    assert records.values.keys() == {"log_density", "bond", "bond_squared", "z"}
    assert records.acceptance.keys() == {"self_learning", "local"}
    assert records.values["bond"].shape == records.acceptance["local"].shape == (6, 60)
    assert result.measured.values["bond"].shape == (6, 40)
    assert result.spins.shape == START.shape
    np.testing.assert_allclose(
        records.values["log_density"][:, -1], jax.vmap(EXACT)(result.spins), atol=1e-12
    )
    assert 0 < result.seconds == pytest.approx(float(np.sum(records.seconds[20:])))


@pytest.mark.usefixtures("short_pieces")
def test_pieces_change_nothing():
    pieces = []
    result = run(observer=lambda _, new: pieces.append(len(new.sweep)))
    assert len(pieces) > 3
    assert sum(pieces) == 60
    whole = run(observer=None)
    assert_equal(result.records.values, whole.records.values)
    assert_equal(result.snapshot, whole.snapshot)


@pytest.mark.usefixtures("short_pieces")
def test_it_goes_on_exactly_from_a_file(tmp_path):
    kept = []

    def stop(snapshot, new):
        kept.append(new)
        save_checkpoint(tmp_path, snapshot, {})
        return int(snapshot.sweep) >= 30

    stopped = run(observer=stop)
    assert stopped.outcome == SamplingOutcome.INTERRUPTED
    assert 30 <= int(stopped.snapshot.sweep) < 60
    template = jax.eval_shape(snapshot_of, LEARNED, START)
    resumed = run(snapshot=load_checkpoint(tmp_path, template))
    whole = run()
    assert_equal(resumed.snapshot, whole.snapshot)
    joined = stopped.records + resumed.records
    assert_equal(joined.values, whole.records.values)
    assert_equal(joined.acceptance, whole.records.acceptance)
    np.testing.assert_array_equal(joined.sweep, whole.records.sweep)


def test_records_survive_a_file(tmp_path):
    records = run().records
    np.savez(tmp_path / "records.npz", **records.arrays())
    with np.load(tmp_path / "records.npz") as file:
        read = ChainRecords.from_arrays(dict(file))
    assert_equal(read.values, records.values)
    assert_equal(read.acceptance, records.acceptance)
    np.testing.assert_array_equal(read.sweep, records.sweep)


def test_chains_do_not_depend_on_each_other():
    few = run(spins=START[:2], batching="map")
    many = run(batching="map")
    assert_equal(few.records.values["bond"], many.records.values["bond"][:2])
    assert len(np.unique(many.records.values["bond"][:, -1])) == 6


def test_both_batchings_agree():
    together, one_by_one = run(num_sweeps=20), run(num_sweeps=20, batching="map")
    for name, rows in together.records.values.items():
        np.testing.assert_allclose(rows, one_by_one.records.values[name], atol=1e-9)


@pytest.mark.usefixtures("short_pieces")
def test_step_sizes_adapt_in_burn_in_and_are_frozen_after_it():
    sizes = []

    def watch(snapshot, _):
        (size,) = snapshot.chains.step_sizes.values()
        sizes.append((int(snapshot.sweep), np.asarray(size)))

    strong = ring(4, 30.0)
    kernel = LocalMetropolis(strong)
    result = run(kernel, num_sweeps=200, num_burn_in=200, observer=watch)
    during = [size for sweep, size in sizes if sweep <= 200]
    after = [size for sweep, size in sizes if sweep >= 200]
    assert len(during) > 3
    assert len(after) > 3
    assert not np.array_equal(during[0], during[1])
    assert all(np.array_equal(size, after[0]) for size in after)
    acceptance = np.mean(result.measured.acceptance["local"])
    assert acceptance == pytest.approx(kernel.step_size.target, abs=0.08)
    fixed = LocalMetropolis(strong, step_size=StepSize(0.5))
    chains = run(fixed, num_burn_in=40).snapshot.chains
    np.testing.assert_array_equal(chains.step_sizes["local"], 0.5)


def test_a_step_size_stays_below_the_largest():
    result = run(LocalMetropolis(ring(4, 1e-3)), num_burn_in=200)
    np.testing.assert_array_equal(result.snapshot.chains.step_sizes["local"], np.pi)


def test_records_now_and_then():
    every, fifth = run(), run(record_every=5)
    np.testing.assert_array_equal(fifth.records.sweep, np.arange(5, 61, 5))
    assert_equal(fifth.records.values["bond"], every.records.values["bond"][:, 4::5])
    mean = every.records.acceptance["local"].reshape(6, 12, 5).mean(-1)
    np.testing.assert_allclose(fifth.records.acceptance["local"], mean, atol=1e-14)
    with pytest.raises(ValueError, match="multiples of record_every = 7"):
        run(record_every=7)


@pytest.mark.usefixtures("short_pieces")
def test_the_time_limit_ends_it():
    result = run(time_limit=0.0)
    assert result.outcome == SamplingOutcome.TIME_LIMIT
    assert len(result.records.sweep) == 1


@pytest.mark.usefixtures("short_pieces")
def test_who_stops_it_at_the_end_has_finished_it():
    result = run(observer=lambda snapshot, _: int(snapshot.sweep) == 60)
    assert result.outcome == SamplingOutcome.FINISHED


def test_a_second_call_compiles_nothing():
    run()
    count = compiled_chains.run_piece._cache_size()
    other = SelfLearning(
        ring(4, 1.1).function(), LocalMetropolis(ring(4, 0.3)), num_inner=7
    )
    run(other, spins=START[::-1], key=jax.random.key(5), num_sweeps=30, num_burn_in=2)
    assert compiled_chains.run_piece._cache_size() == count


def northern(limit, spins):
    """Return NaN where a spin points far north."""
    return jnp.where(jnp.all(spins[:, 2] < limit), EXACT(spins), jnp.nan)


SOUTH = jnp.broadcast_to(jnp.array([0.0, 0.0, -1.0]), START.shape)


@pytest.mark.parametrize(
    "kernel",
    [
        lambda density: LocalMetropolis(WholeDensity(density)),
        lambda density: Cycle((GlobalMetropolis(density),)),
        lambda density: Hamiltonian(density, 3, StepSize(0.5)),
        lambda density: SelfLearning(density, LocalMetropolis(POOR), 2),
    ],
    ids=["local", "global", "hamiltonian", "self-learning"],
)
def test_what_is_not_finite_is_refused_and_counted(kernel):
    result = run(kernel(Partial(northern, 0.5)), SOUTH)
    assert result.outcome == SamplingOutcome.NOT_FINITE
    assert result.outcome.is_failure
    assert "NaN" in result.outcome.sentence
    assert np.all(np.asarray(result.snapshot.chains.num_not_finite) > 0)
    assert np.all(np.isfinite(result.records.values["log_density"]))
    assert np.all(result.spins[..., 2] < 0.5)


def test_a_density_of_zero_is_no_failure():
    def southern(spins):
        return jnp.where(jnp.all(spins[:, 2] < 0), EXACT(spins), -jnp.inf)

    result = run(LocalMetropolis(WholeDensity(Partial(southern))), SOUTH)
    assert result.outcome == SamplingOutcome.FINISHED
    assert np.all(result.spins[..., 2] < 0)


@pytest.mark.parametrize(
    ("spins", "words"),
    [
        (START * 1.01, "spins of unit length, got lengths that differ .* by 1.0e-02"),
        (START.at[0, 0, 0].set(jnp.nan), "spins of unit length"),
        (START[0], r"shape \(num_chains, n_1, ..., n_d, 3\), got .* \(4, 3\)"),
        (jnp.ones((2, 4, 3), int), "real spins .* got int"),
    ],
)
def test_bad_spins_are_refused(spins, words):
    with pytest.raises(ValueError, match=words):
        run(spins=spins)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_sweeps": 0}, "num_sweeps >= 1"),
        ({"num_burn_in": -1}, "num_burn_in >= 0"),
        ({"batching": "loop"}, '"vmap" or "map"'),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        run(**options)


def test_bad_densities_are_refused():
    nowhere = Partial(lambda spins: jnp.sum(spins) * jnp.nan)
    with pytest.raises(ValueError, match="finite at the first spins, got nan for ch"):
        run(GlobalMetropolis(nowhere))
    with pytest.raises(ValueError, match="a real scalar, got float64 of shape"):
        run(GlobalMetropolis(Partial(lambda spins: spins[:, 0])))


def test_bad_step_sizes_and_kernels_are_refused():
    with pytest.raises(ValueError, match="step size above 0 and at most 3"):
        StepSize(4.0, largest=np.pi)
    with pytest.raises(ValueError, match="target acceptance between 0 and 1, got"):
        StepSize(1.0, target=1.5)
    with pytest.raises(ValueError, match="different names of moves, got local, local"):
        run(Cycle((LocalMetropolis(EXACT), LocalMetropolis(EXACT))))


def test_kernels_that_do_nothing_are_refused():
    with pytest.raises(ValueError, match="1 sweep or more, got 0"):
        LocalMetropolis(EXACT, num_sweeps=0)
    with pytest.raises(ValueError, match="one kernel or more"):
        Cycle(())


def test_an_inner_kernel_that_does_not_say_it_is_reversible_is_refused():
    class Silent:
        """A kernel of a user, as far as it matters here."""

        step = None

    with pytest.raises(ValueError, match="obeys detailed balance, got Silent"):
        SelfLearning(EXACT.function(), Silent())


def test_a_whole_number_as_jitter_is_looked_at_too():
    with pytest.raises(ValueError, match="a jitter from 0 to below 1, got 2"):
        Hamiltonian(EXACT.function(), jitter=2)
