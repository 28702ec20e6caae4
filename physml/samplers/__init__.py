"""Markov chains of classical spins. They know log densities, no physics."""

from physml.samplers.compiled_chains import Batching
from physml.samplers.configurations import random_configurations
from physml.samplers.cycle import Cycle
from physml.samplers.global_rotation import global_rotation
from physml.samplers.hamiltonian import Hamiltonian
from physml.samplers.inner_length import (
    InnerLength,
    InnerLengthChoice,
    choose_inner_length,
)
from physml.samplers.kernel import Kernel, StepSize, Tally
from physml.samplers.local_density import (
    LocalDensity,
    LogDensity,
    WholeDensity,
    with_spin,
)
from physml.samplers.local_rotation import cone_rotation
from physml.samplers.metropolis import GlobalMetropolis, LocalMetropolis
from physml.samplers.outcome import SamplingOutcome
from physml.samplers.overrelaxation import LocalFieldDensity, Overrelaxation
from physml.samplers.records import ChainRecords
from physml.samplers.sampling import (
    Observables,
    Observer,
    SampleResult,
    nothing_observed,
    sample,
)
from physml.samplers.self_learning import SelfLearning
from physml.samplers.snapshot import (
    SamplingSnapshot,
    initial_snapshot,
    snapshot_of,
)

__all__ = [
    "Batching",
    "ChainRecords",
    "Cycle",
    "GlobalMetropolis",
    "Hamiltonian",
    "InnerLength",
    "InnerLengthChoice",
    "Kernel",
    "LocalDensity",
    "LocalFieldDensity",
    "LocalMetropolis",
    "LogDensity",
    "Observables",
    "Observer",
    "Overrelaxation",
    "SampleResult",
    "SamplingOutcome",
    "SamplingSnapshot",
    "SelfLearning",
    "StepSize",
    "Tally",
    "WholeDensity",
    "choose_inner_length",
    "cone_rotation",
    "global_rotation",
    "initial_snapshot",
    "nothing_observed",
    "random_configurations",
    "sample",
    "snapshot_of",
    "with_spin",
]
