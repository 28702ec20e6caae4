"""Minimization with Optax: compiled loops, stop rules, checkpoints. No physics."""

from physml.training.checkpoint import (
    CheckpointError,
    load_checkpoint,
    read_manifest,
    save_checkpoint,
)
from physml.training.minimization import (
    MinimizeResult,
    TrainingSnapshot,
    TrainingState,
    initial_snapshot,
    minimize,
)
from physml.training.records import Records
from physml.training.regression import (
    Regression,
    batch_indices,
    best_of_random_starts,
)
from physml.training.stages import OPTIMIZERS, Stage, optimizer_stages
from physml.training.stopping import Outcome, StopRules

__all__ = [
    "OPTIMIZERS",
    "CheckpointError",
    "MinimizeResult",
    "Outcome",
    "Records",
    "Regression",
    "Stage",
    "StopRules",
    "TrainingSnapshot",
    "TrainingState",
    "batch_indices",
    "best_of_random_starts",
    "initial_snapshot",
    "load_checkpoint",
    "minimize",
    "optimizer_stages",
    "read_manifest",
    "save_checkpoint",
]
