"""The run of self-learning Monte Carlo as a list of tasks.

A data set of the exact model; for each number of layers, from none up, a training on it
and a second one that adds configurations of the model itself; then measurements by
exact Metropolis and by self-learning Monte Carlo with each model.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from physml.hamiltonians import (
    DoubleExchange,
    LinearSpinModel,
    fit_linear,
    random_equivariant_model,
)
from physml.runs.sampling import InnerLengthTask, SamplingTask
from physml.runs.self_learning.data_tasks import DATA, GivenDataSet, MakeDataSet
from physml.runs.self_learning.measurement import orders
from physml.runs.self_learning.problem import SelfLearningProblem
from physml.runs.self_learning.training import (
    DirectFit,
    Model,
    Samples,
    Training,
)
from physml.runs.tasks import Results, Task
from physml.samplers import (
    Hamiltonian,
    LocalMetropolis,
    SelfLearning,
    random_configurations,
)
from physml.training.stages import optimizer_stages

FEWEST_STEPS = 16  # of a measurement
OWN_TRAJECTORIES = 4  # between samples of a model, where the length is chosen later
METROPOLIS = "exact Metropolis"
FIRST_UPDATE = 0.1  # how much the first layer changes the spins before it is trained


def all_tasks(problem: SelfLearningProblem) -> tuple[Task, ...]:
    """Return the tasks of a run, in order."""
    models = model_names(problem)
    tasks: list[Task] = [_data_task(problem)]
    for layers, name in models.items():
        tasks.append(_training(problem, layers, name))
        if has_second_round(problem):
            tasks += [_own_samples(problem, name), _second_round(problem, layers, name)]
    tasks.append(_exact_measurement(problem))
    for name in models.values():
        if not problem.configuration.trajectories:
            tasks.append(_inner_length(problem, name))
        tasks.append(_measurement(problem, name))
    return tuple(tasks)


def model_names(problem: SelfLearningProblem) -> dict[int, str]:
    """Return what the models of a run are called, by their number of layers."""
    model, most = problem.given_model, problem.configuration.layers
    if model is None:
        return {layers: _name(layers) for layers in range(most + 1)}
    layers = 0 if isinstance(model, LinearSpinModel) else len(model.layers)
    return {layers: _name(layers)}


def has_second_round(problem: SelfLearningProblem) -> bool:
    """Whether models learn from configurations of their own, too."""
    return problem.configuration.own_samples > 0 and problem.given_model is None


def fit_name(problem: SelfLearningProblem, name: str) -> str:
    """Return the task whose result is the trained model."""
    return ("second round, " if has_second_round(problem) else "training, ") + name


def measurement_name(name: str) -> str:
    """Return the task that measures with a method."""
    return f"measurement, {name}"


def num_trajectories(problem: SelfLearningProblem, name: str, results: Results) -> int:
    """Return how many trajectories of a model make up a proposal."""
    return problem.configuration.trajectories or int(results[_length_name(name)])


def num_sweeps_of_step(problem: SelfLearningProblem) -> int:
    """Return how many sweeps of exact Metropolis are one step of its measurement.

    What is kept beside a configuration lives through a step: longer ones are cheaper.
    """
    options = problem.configuration
    return min(options.interval, options.sweeps // FEWEST_STEPS)


def num_test_chains(problem: SelfLearningProblem) -> int:
    """Return how many chains are held out, each as long as those to learn from."""
    options = problem.configuration
    samples_of_chain = _of_chain(options.training_samples, problem)
    return _quotient_above(options.test_samples, samples_of_chain)


def exact_log_density(
    exact: DoubleExchange, temperature: jax.Array, spins: jax.Array
) -> jax.Array:
    """Return -F/T of the electrons."""
    return -exact.free_energy(spins, temperature) / temperature


def model_log_density(model: Model, spins: jax.Array) -> jax.Array:
    """Return -F/T of an effective model."""
    return -model(spins)


def _data_task(problem: SelfLearningProblem) -> Task:
    if problem.given_data is not None:
        return GivenDataSet(problem.given_data)
    options = problem.configuration
    num_chains = options.chains + num_test_chains(problem)
    records = _of_chain(options.training_samples, problem)
    key, first_key = jax.random.split(problem.key("data"))
    first = partial(random_configurations, first_key, num_chains, problem.lattice.shape)
    sampling = SamplingTask(
        DATA,
        kernel=partial(_metropolis, problem, options.interval),
        first_spins=lambda _: first(),
        key=key,
        num_sweeps=records,
        num_burn_in=_quotient_above(options.burn_in, options.interval),
        observables=_the_spins,
        batching="map",
        communicator=problem.communicator,
    )
    return MakeDataSet(sampling, options.chains)


def _training(problem: SelfLearningProblem, layers: int, name: str) -> Task:
    task = f"training, {name}"
    samples = partial(_samples, None)
    if problem.given_model is not None:
        return DirectFit(task, samples, lambda *_: problem.given_model)
    if not layers:
        return DirectFit(task, samples, partial(_least_squares, problem))
    return _training_task(
        problem,
        task,
        samples,
        partial(_deeper, problem, layers),
        problem.configuration.starts,
    )


def _second_round(problem: SelfLearningProblem, layers: int, name: str) -> Task:
    task = f"second round, {name}"
    samples = partial(_samples, f"own samples, {name}")
    if not layers:
        return DirectFit(task, samples, partial(_least_squares, problem))

    def first_model(results: Results, start: jax.Array) -> Model:
        del start
        return results[f"training, {name}"].model

    return _training_task(problem, task, samples, first_model, 1)


def _training_task(
    problem: SelfLearningProblem,
    task: str,
    samples: Callable[[Results], tuple[Samples, Samples]],
    first_model: Callable[[Results, jax.Array], Model],
    num_starts: int,
) -> Training:
    steps = problem.configuration.training_steps
    (stage,) = optimizer_stages("levenberg_marquardt", num_steps=steps)
    return Training(task, samples, first_model, num_starts, stage, problem.communicator)


def _own_samples(problem: SelfLearningProblem, name: str) -> SamplingTask:
    """Return chains in the model alone, with the exact F/T of their configurations."""
    options = problem.configuration
    records = _of_chain(options.own_samples, problem)
    every = options.trajectories or OWN_TRAJECTORIES
    return SamplingTask(
        f"own samples, {name}",
        kernel=partial(_trajectories, f"training, {name}"),
        first_spins=partial(_spread_samples, options.chains),
        key=problem.key("own samples", name),
        num_sweeps=records * every,
        num_burn_in=_quotient_above(options.burn_in, every) * every,
        record_every=every,
        observables=partial(_spins_and_free_energy, problem),
        communicator=problem.communicator,
    )


def _exact_measurement(problem: SelfLearningProblem) -> SamplingTask:
    options, sweeps = problem.configuration, num_sweeps_of_step(problem)
    return SamplingTask(
        measurement_name(METROPOLIS),
        kernel=partial(_metropolis, problem, sweeps),
        first_spins=partial(_spread_samples, options.chains),
        key=problem.key("measurement", METROPOLIS),
        num_sweeps=_quotient_above(options.sweeps, sweeps),
        num_burn_in=_quotient_above(options.burn_in, sweeps),
        observables=partial(orders, problem.lattice),
        batching="map",
        communicator=problem.communicator,
    )


def _measurement(problem: SelfLearningProblem, name: str) -> SamplingTask:
    options = problem.configuration
    return SamplingTask(
        measurement_name(name),
        kernel=partial(_self_learning, problem, name, options.trajectories),
        first_spins=partial(_spread_samples, options.chains),
        key=problem.key("measurement", name),
        num_sweeps=options.proposals,
        num_burn_in=options.burn_in,
        observables=partial(orders, problem.lattice),
        communicator=problem.communicator,
    )


def _inner_length(problem: SelfLearningProblem, name: str) -> InnerLengthTask:
    return InnerLengthTask(
        _length_name(name),
        kernel=partial(_self_learning, problem, name, 1),
        first_spins=partial(_spread_samples, problem.configuration.chains),
        key=problem.key("lengths", name),
        observables=partial(orders, problem.lattice),
        communicator=problem.communicator,
    )


def _length_name(name: str) -> str:
    return f"trajectories, {name}"


def _metropolis(
    problem: SelfLearningProblem, num_sweeps: int, results: Results
) -> LocalMetropolis:
    del results
    return LocalMetropolis(problem.density, num_sweeps=num_sweeps)


def _trajectories(fit: str, results: Results) -> Hamiltonian:
    return Hamiltonian(Partial(model_log_density, results[fit].model))


def _self_learning(
    problem: SelfLearningProblem, name: str, num_inner: int, results: Results
) -> SelfLearning:
    """Return the kernel of a model; 0 stands for the length that was chosen."""
    inner = _trajectories(fit_name(problem, name), results)
    length = num_inner or results[_length_name(name)]
    return SelfLearning(_exact_density(problem), inner, length)


def _exact_density(problem: SelfLearningProblem) -> Partial:
    temperature = jnp.asarray(problem.configuration.temperature)
    return Partial(exact_log_density, problem.exact, temperature)


def _the_spins(spins: jax.Array) -> dict[str, jax.Array]:
    return {"spins": spins}


def _spins_and_free_energy(
    problem: SelfLearningProblem, spins: jax.Array
) -> dict[str, jax.Array]:
    return {"spins": spins, "free_energy": problem.reduced_free_energy(spins)}


def _spread_samples(num_chains: int, results: Results) -> jax.Array:
    """Return configurations from all over the data set."""
    spins = results[DATA].spins
    chosen = np.linspace(0, len(spins) - 1, num_chains).astype(int)
    return jnp.asarray(spins[chosen])


def _samples(own: str | None, results: Results) -> tuple[Samples, Samples]:
    """Return what to learn from, and the held-out samples."""
    spins, free_energies = results[DATA].part(is_test=False)
    if own is not None:
        values = results[own].values
        more = jnp.reshape(values["spins"], (-1, *spins.shape[1:]))
        spins = jnp.concatenate([spins, more])
        free_energies = jnp.append(free_energies, jnp.ravel(values["free_energy"]))
    return (spins, free_energies), results[DATA].part(is_test=True)


def _least_squares(
    problem: SelfLearningProblem, spins: jax.Array, free_energies: jax.Array
) -> Model:
    shells = problem.configuration.shells
    return fit_linear(spins, free_energies, problem.lattice, shells)


def _deeper(
    problem: SelfLearningProblem, layers: int, results: Results, start: jax.Array
) -> Model:
    """Return the model with one layer less, and another random layer."""
    names, options = model_names(problem), problem.configuration
    before = results[f"training, {names[layers - 1]}"].model
    key = jax.random.fold_in(problem.key("starts", names[layers]), start)
    if layers > 1:
        return before.deepened(key)  # it starts from what was learned before
    return random_equivariant_model(
        key,
        before,
        kind=options.kind,
        block_shells=options.layer_shells,
        update=FIRST_UPDATE,
    )


def _name(layers: int) -> str:
    return ("linear", "1 layer")[layers] if layers < 2 else f"{layers} layers"


def _of_chain(num_samples: int, problem: SelfLearningProblem) -> int:
    return _quotient_above(num_samples, problem.configuration.chains)


def _quotient_above(number: int, divisor: int) -> int:
    return -(-number // divisor)
