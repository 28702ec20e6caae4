"""Minimization: Optax and Optimistix in compiled loops, stop rules, checkpoints."""

from physml.training.checkpoint import (
    CheckpointError,
    load_checkpoint,
    read_manifest,
    save_checkpoint,
)
from physml.training.compiled_loop import TrainingState
from physml.training.driver import MinimizeResult, TrainingSnapshot
from physml.training.minimization import initial_snapshot, minimize
from physml.training.records import Records
from physml.training.regression import (
    MeanSquaredError,
    Regression,
    batch_indices,
    best_of_random_starts,
)
from physml.training.stages import OPTIMIZERS, Stage, optimizer_stages
from physml.training.starts import StartsResult, minimize_starts
from physml.training.stopping import Outcome, StopRules
from physml.training.sum_of_squares import SquaredLoss, SumOfSquares
from physml.training.variable_projection import VariableProjection

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
    "StartsResult",
    "StopRules",
    "SumOfSquares",
    "TrainingSnapshot",
    "TrainingState",
    "VariableProjection",
    "batch_indices",
    "best_of_random_starts",
    "initial_snapshot",
    "load_checkpoint",
    "minimize",
    "minimize_starts",
    "optimizer_stages",
    "read_manifest",
    "save_checkpoint",
]
