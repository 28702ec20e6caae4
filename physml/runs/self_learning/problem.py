"""Self-learning Monte Carlo of spins and electrons: options, lattice, exact model."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np

from physml.failures import expected
from physml.hamiltonians import DoubleExchange, double_exchange_density
from physml.lattices import BravaisLattice
from physml.layers import SpinLayerKind
from physml.parallel import SERIAL, Communicator
from physml.runs.lattice_options import make_lattice
from physml.runs.model_files import SpinModel, load_model
from physml.runs.run import RunConfiguration
from physml.runs.self_learning.data_set import DataSet, read_data_set, require_same
from physml.samplers import LocalDensity

SpinLattice = Literal["square", "triangular", "cubic"]
Purpose = Literal["data", "starts", "own samples", "measurement", "lengths"]

CHECKED_CONFIGURATIONS = 3  # of a data set, whose free energies are computed again


@dataclass(frozen=True, kw_only=True)
class SelfLearningConfiguration(RunConfiguration):
    """Options of self-learning Monte Carlo.

    The exact model is H = -t sum (c+c + h.c.) + (J/2) sum_i S_i.sigma_i - mu N on a
    periodic lattice; energies and temperatures are in one unit, that of t.
    """

    lattice: SpinLattice = "square"
    """Periodic."""
    size: tuple[int, ...] = (6,)
    """Sites along each direction; one number stands for all directions."""
    temperature: float = 0.05
    """T, in units of energy."""
    coupling: float = 1.0
    """J, in units of energy: a spin splits a level by J."""
    hopping: float = 1.0
    """t, in units of energy."""
    chemical_potential: float = 0.0
    """mu, in units of energy; 0 is half filling on two sublattices."""
    shells: int = 3
    """Shells of neighbors of the linear model, and of what follows the layers."""
    layer_shells: int = 6
    """Shells of neighbors that a layer sees."""
    layers: int = 2
    """Most layers; models with 0 (linear), 1, 2, ... are trained one after the other,
    then all are measured."""
    kind: SpinLayerKind = "attention"
    """attention: as published; biased_attention: a bias for each shell; convolution: no
    attention; convolution_and_attention: both."""
    starts: int = 4
    """Random starts of each new layer; the best one stays."""
    training_steps: int = 30
    """Steps of Levenberg-Marquardt in each round of training, at most."""
    training_samples: int = 1600
    """Configurations of the exact model to learn from."""
    test_samples: int = 400
    """Configurations for tests, from chains of their own."""
    own_samples: int = 400
    """Configurations of each model's own proposals, for a second round of training; 0:
    no second round."""
    data: Path | None = None
    """A data.npz of an earlier run with the same exact model. By default a data set is
    made."""
    model: Path | None = None
    """A model file of an earlier run with the same exact model, on any size of the
    lattice: nothing is trained, it alone is measured. By default models are trained."""
    interval: int = 3
    """Sweeps of exact Metropolis from one configuration to the next, in the data set
    and in the measurement."""
    burn_in: int = 100
    """Sweeps or proposals of each chain before the first that counts."""
    chains: int = 8
    """Independent chains of each measurement, and of the configurations to learn
    from."""
    sweeps: int = 1000
    """Sweeps of each chain in the measurement by exact Metropolis."""
    proposals: int = 1000
    """Proposals of each chain in the measurement by self-learning Monte Carlo."""
    trajectories: int = 4
    """Hamiltonian trajectories of a model in one proposal; 0: the number from 1 to 16
    that gives most effective samples a second, tried out for each model."""

    def comparable(self) -> dict[str, Any]:
        """Return the options that a checkpoint shares with the run that resumes it."""
        options = super().comparable()
        names = ("data", "model")
        return options | {n: str(options[n]) if options[n] else None for n in names}


@dataclass(frozen=True)
class SelfLearningProblem:
    """What a run works on.

    Parameters
    ----------
    configuration
        The options, checked.
    lattice
        Of the spins.
    exact
        The model with electrons.
    density
        exp(-F/T) of the exact model, for moves of single spins.
    communicator
        The ranks over which chains and samples are divided.
    given_data, given_model
        What was read from files; None if a data set is to be made, or models are to be
        trained.
    """

    configuration: SelfLearningConfiguration
    lattice: BravaisLattice
    exact: DoubleExchange
    density: LocalDensity
    communicator: Communicator = SERIAL
    given_data: DataSet | None = None
    given_model: SpinModel | None = None

    def reduced_free_energy(self, spins: jax.Array) -> jax.Array:
        """Return F/T of the exact model, shape (...)."""
        temperature = self.configuration.temperature
        return self.exact.free_energy(spins, temperature) / temperature

    def key(self, purpose: Purpose, name: str = "") -> jax.Array:
        """Return the random key of one purpose of the run, and of one model."""
        key = jax.random.key(self.configuration.seed)
        key = jax.random.fold_in(key, get_args(Purpose).index(purpose))
        for letter in name.encode():
            key = jax.random.fold_in(key, letter)
        return key


def self_learning_problem(
    configuration: SelfLearningConfiguration, communicator: Communicator = SERIAL
) -> SelfLearningProblem:
    """Check the options, build the lattice and the exact model, read the files.

    Raises
    ------
    ValueError
        If an option is out of its range, or a file can't be used.
    """
    _require_in_range(configuration)
    lattice, _ = make_lattice(configuration.lattice, configuration.size, "periodic")
    if not isinstance(lattice, BravaisLattice):
        raise expected("a Bravais lattice", configuration.lattice, "take square")
    for name in ("shells", "layer_shells"):
        lattice.shells(getattr(configuration, name))  # refuses more than there are
    exact = DoubleExchange(
        lattice,
        hopping=configuration.hopping,
        coupling=configuration.coupling,
        chemical_potential=configuration.chemical_potential,
    )
    density = double_exchange_density(exact, configuration.temperature)
    problem = SelfLearningProblem(configuration, lattice, exact, density, communicator)
    data, model = communicator.on_root(partial(_read_files, problem))
    return replace(problem, given_data=data, given_model=model)


def physical_parameters(problem: SelfLearningProblem) -> dict[str, Any]:
    """Return what a data set shares with the runs that may use it."""
    names = ("lattice", "temperature", "hopping", "coupling", "chemical_potential")
    options = asdict(problem.configuration)
    parameters = {name: options[name] for name in names}
    return parameters | {"size": list(problem.lattice.shape)}


def _read_files(
    problem: SelfLearningProblem,
) -> tuple[DataSet | None, SpinModel | None]:
    data, model = problem.configuration.data, problem.configuration.model
    return (
        None if data is None else _checked_data(problem, data),
        None if model is None else _checked_model(problem, model),
    )


def _checked_model(problem: SelfLearningProblem, path: Path) -> SpinModel:
    shells = problem.configuration.shells
    model, provenance = load_model(path, problem.lattice, num_shells=shells)
    wanted = physical_parameters(problem)
    del wanted["size"]  # a model belongs to all sizes
    require_same("a model", provenance, wanted, path)
    return model


def _checked_data(problem: SelfLearningProblem, path: Path) -> DataSet:
    data = read_data_set(path, physical_parameters(problem), problem.lattice)
    few = np.linspace(0, len(data.spins) - 1, CHECKED_CONFIGURATIONS).astype(int)
    exact = problem.reduced_free_energy(data.spins[few])
    error = float(np.abs(exact - data.free_energies[few]).max())
    allowed = 1e-9 * (1 + float(np.abs(exact).max()))
    if not error <= allowed:
        raise expected(
            f"free energies of the exact model in {path}",
            f"an error of {error:.1e} in F/T",
            "make the data set again",
        )
    return data


def _require_in_range(configuration: SelfLearningConfiguration) -> None:
    if not 0 < configuration.temperature < float("inf"):
        raise expected("a temperature T > 0", configuration.temperature, "try 0.05")
    for name in ("coupling", "hopping", "chemical_potential"):
        value = getattr(configuration, name)
        if not abs(value) < float("inf"):
            words = name.replace("_", " ")
            raise expected(f"a finite {words}", value, f"give --{name} a number")
    least = {name: 1 for name in ("shells", "layer_shells", "starts", "interval")}
    least |= {"layers": 0, "own_samples": 0, "burn_in": 0, "training_steps": 1}
    least |= {"training_samples": 2, "test_samples": 2, "chains": 1}
    least |= {"sweeps": 16, "proposals": 16, "trajectories": 0}
    for name, lowest in least.items():
        if getattr(configuration, name) < lowest:
            raise expected(
                f"{name.replace('_', ' ')} >= {lowest}",
                getattr(configuration, name),
                f"raise --{name.replace('_', '-')}",
            )
    if configuration.time_limit is not None and not configuration.time_limit > 0:
        raise expected("a time limit > 0", configuration.time_limit, "leave it out")
