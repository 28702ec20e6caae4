"""Impurities from a map of local densities of states: what is hidden and minimized.

The map of a lattice with hidden on-site potentials is given; the potentials of all
sites are looked for. The loss is the mean squared difference of the maps. With narrow
levels it is flat wherever a level of the model and its counterpart in the map do not
overlap, and has many minima. A broad map has neither: its first moment at a site is
that site's potential. So the broadening falls in stages, from a multiple of the map's
own; the given map is broadened by what is missing, a convolution with a Lorentzian over
the given energies. That is exact but for the ends of the window, and the last stage
compares with the map itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from physml.failures import expected
from physml.greens_functions import local_density_of_states
from physml.hamiltonians.tight_binding import impurity_potential, tight_binding
from physml.lattices import BravaisLattice, chain, square
from physml.operators.hopping import HoppingOperator
from physml.parallel import SERIAL, Communicator
from physml.runs.minimization import minimize_regression
from physml.runs.run import RunConfiguration
from physml.training.driver import MinimizeResult
from physml.training.regression import Regression
from physml.training.stages import Stage, optimizer_stages
from physml.training.stopping import StopRules

LatticeName = Literal["chain", "square"]
LATTICES: dict[LatticeName, Callable[[int], BravaisLattice]] = {
    "chain": chain,
    "square": lambda size: square(size, size),
}
PATIENCE = 30  # steps without a lower loss that end a stage
IMPROVEMENT = 1e-6  # share of the loss by which it has to fall
LARGEST = 1e6  # of all energies: beyond, float64 hardly sees the hopping
NARROWING = 2.0  # of the broadening from one stage to the next


@dataclass(frozen=True, kw_only=True)
class InverseDesignConfiguration(RunConfiguration):
    """Options of the search for the potentials behind a map."""

    lattice: LatticeName = "chain"
    """With open ends and hopping -1, the unit of energy."""
    size: int = 40
    """Sites of the chain, or along each side of the square."""
    impurities: int = 6
    """Sites that have a hidden potential; which, is not known to the search."""
    strength: float = 3.0
    """The hidden potentials lie between this and its negative."""
    energies: int = 161
    """Energies of the map, from below to above the spectrum."""
    broadening: float = 0.1
    """Half width at half maximum of each level in the map."""
    first_broadening: float = 1.6
    """Where the search begins; halved from stage to stage. The map's own: no
    stages."""
    start_width: float = 3.0
    """The search starts from random potentials between this and its negative."""
    steps: int = 1500
    """Optimizer steps, at most."""
    target_gradient: float = 1e-14
    """Done when the gradient of the loss has this norm."""


@dataclass(frozen=True)
class InverseDesignProblem:
    """The given map, and how its potentials are looked for."""

    hamiltonian: HoppingOperator  # without potentials
    hidden: jax.Array  # potentials, (num_sites,)
    start: jax.Array
    energies: jax.Array
    broadening: float
    hidden_map: jax.Array  # (num_energies, num_sites)
    regression: Regression
    stages: tuple[Stage, ...]
    stop_rules: StopRules

    def map(self, potential: jax.Array) -> jax.Array:
        """Return the map of a potential, shape (num_energies, num_sites)."""
        return density_map(
            self.hamiltonian, potential, (self.energies, self.broadening)
        )

    def solve(self, **options: Any) -> MinimizeResult:
        """Minimize the difference; `observer`, `snapshot` as in `minimize`."""
        return minimize_regression(
            "The search",
            self.regression,
            self.start,
            self.stages,
            self.stop_rules,
            **options,
        )


def density_map(
    hamiltonian: HoppingOperator, potential: jax.Array, samples: tuple
) -> jax.Array:
    """Return the map of a potential at energies with their broadenings."""
    energies, broadening = samples
    operator = replace(hamiltonian, potential=potential)
    return local_density_of_states(operator, energies, broadening).values


def inverse_design_problem(
    configuration: InverseDesignConfiguration, communicator: Communicator = SERIAL
) -> InverseDesignProblem:
    """Hide potentials, make their map, and set up the search."""
    _require_in_range(configuration)
    stop_rules = StopRules(
        target=configuration.target_gradient,
        patience=PATIENCE,
        improvement=IMPROVEMENT,
        time_limit=configuration.time_limit,
    )
    lattice = LATTICES[configuration.lattice](configuration.size)
    hamiltonian = tight_binding(lattice, boundary="open")
    hidden, start = _draw_potentials(configuration, lattice)
    highest = 2 * len(lattice.shape) + configuration.strength + 1
    energies = jnp.linspace(-highest, highest, configuration.energies)
    broadenings = _broadenings(configuration)
    hidden_map = density_map(hamiltonian, hidden, (energies, broadenings[-1]))
    regression = Regression(
        Partial(density_map, hamiltonian),
        (energies, jnp.full_like(energies, broadenings[-1])),
        hidden_map,
        communicator,
    )
    return InverseDesignProblem(
        hamiltonian,
        hidden,
        start,
        energies,
        configuration.broadening,
        hidden_map,
        regression,
        _stages(configuration.steps, regression, broadenings),
        stop_rules,
    )


def broadened_map(
    densities: jax.Array, energies: jax.Array, broadening: float
) -> jax.Array:
    r"""Return a map broadened further: a convolution with a Lorentzian.

    .. math:: \rho_{\eta + \delta}(E) = \int dE' \, \rho_\eta(E') \,
              \frac{1}{\pi} \frac{\delta}{(E - E')^2 + \delta^2}

    The Lorentzian of each energy E' is normalized in the window of equally spaced
    energies: nothing is lost across its ends.
    """
    distance = energies[:, None] - energies[None, :]
    kernel = broadening / (distance**2 + broadening**2)
    return kernel / jnp.sum(kernel, 0, keepdims=True) @ densities


def _stages(
    num_steps: int, regression: Regression, broadenings: list[float]
) -> tuple[Stage, ...]:
    """Return a stage of L-BFGS for each broadening, after a start with Adam."""
    energies = regression.inputs[0]
    first, finish = optimizer_stages("lbfgs", num_steps=num_steps, learning_rate=0.1)
    loss = regression.loss()
    stages: list[Stage] = []
    for broadening in broadenings[:-1]:
        missing = broadening - broadenings[-1]
        targets = broadened_map(regression.targets, energies, missing)
        inputs = energies, jnp.full_like(energies, broadening)
        samples = regression.communicator.divide((inputs, targets))
        broad = Partial(_without_step, replace(loss, samples=samples))  # one program
        name = f"broadening {broadening:g}"
        most = max(1, num_steps // (2 * len(broadenings)))
        if not stages:
            stages.append(replace(first, name=f"{name}, Adam", batch_loss=broad))
        stages.append(Stage(name, finish.optimizer, most, broad))
    if not stages:
        stages.append(first)
    used = sum(stage.num_steps for stage in stages)
    name = f"broadening {broadenings[-1]:g}"
    left = max(1, num_steps - used)
    return (*stages, Stage(name, finish.optimizer, left))


def _without_step(loss: Partial, parameters: Any, step: jax.Array) -> jax.Array:
    del step
    return loss(parameters)


def _broadenings(configuration: InverseDesignConfiguration) -> list[float]:
    """Return those of the stages, the map's own last."""
    broadenings, last = [], configuration.broadening
    broad = configuration.first_broadening
    while broad > last * (1 + 1e-9):
        broadenings.append(broad)
        broad /= NARROWING
    return [*broadenings, last]


def _draw_potentials(
    configuration: InverseDesignConfiguration, lattice: BravaisLattice
) -> tuple[jax.Array, jax.Array]:
    """Return the hidden potentials, and those that the search starts from."""
    keys = jax.random.split(jax.random.key(configuration.seed), 3)
    count, strength = configuration.impurities, configuration.strength
    sites = jax.random.choice(keys[0], lattice.num_sites, (count,), replace=False)
    values = jax.random.uniform(keys[1], (count,), minval=-strength, maxval=strength)
    width = configuration.start_width
    start = jax.random.uniform(
        keys[2], (lattice.num_sites,), minval=-width, maxval=width
    )
    return impurity_potential(lattice, np.asarray(sites), values), start


def _require_in_range(configuration: InverseDesignConfiguration) -> None:
    num_sites = configuration.size ** (2 if configuration.lattice == "square" else 1)
    if configuration.size < 2:
        raise expected("a size of 2 or more", configuration.size, "raise --size")
    if not 1 <= configuration.impurities <= num_sites:
        raise expected(
            f"1 to {num_sites} impurities, one for each site at most",
            configuration.impurities,
            "change --impurities",
        )
    if configuration.energies < 2:
        raise expected("2 energies or more", configuration.energies, "raise --energies")
    for name in ("strength", "broadening", "first_broadening", "start_width"):
        value = getattr(configuration, name)
        if not 0 < value <= LARGEST:
            raise expected(
                f"a {name.replace('_', ' ')} > 0 and at most {LARGEST:g}",
                value,
                "its unit is the hopping",
            )
    if configuration.first_broadening < configuration.broadening:
        raise expected(
            f"a first broadening of {configuration.broadening} or more, the map's own",
            configuration.first_broadening,
            "raise --first-broadening",
        )
    fewest = 2 * len(_broadenings(configuration))
    if configuration.steps < fewest:
        raise expected(
            f"{fewest} steps or more, two for each broadening",
            configuration.steps,
            "raise --steps, or lower --first-broadening",
        )
