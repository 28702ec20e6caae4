"""Minimization: Optax and Optimistix in compiled loops, stop rules, checkpoints."""

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
    MeanSquaredError,
    Regression,
    batch_indices,
    best_of_random_starts,
)
from physml.training.stages import OPTIMIZERS, Stage, optimizer_stages
from physml.training.stopping import Outcome, StopRules
from physml.training.sum_of_squares import SquaredLoss, SumOfSquares

__all__ = [
    "OPTIMIZERS",
    "CheckpointError",
    "MeanSquaredError",
    "MinimizeResult",
    "Outcome",
    "Records",
    "Regression",
    "SquaredLoss",
    "Stage",
    "StopRules",
    "SumOfSquares",
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
