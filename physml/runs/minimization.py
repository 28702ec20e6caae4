"""How a run that minimizes one loss writes its records and checkpoints."""

from dataclasses import dataclass
from typing import Any

from physml.failures import RunFailure
from physml.runs.run import Standing
from physml.training.compiled_loop import state_template
from physml.training.minimization import MinimizeResult, TrainingSnapshot, minimize
from physml.training.records import Records
from physml.training.regression import Regression
from physml.training.stages import Stage
from physml.training.stopping import StopRules


def minimize_regression(
    name: str,
    regression: Regression,
    start: Any,
    stages: tuple[Stage, ...],
    stop_rules: StopRules,
    **options: Any,
) -> MinimizeResult:
    """Minimize the mean squared error; `observer`, `snapshot` as in `minimize`.

    Raises
    ------
    RunFailure
        If it failed, with the name of what did.
    """
    result = minimize(
        regression.loss(),
        start,
        stages,
        stop_rules=stop_rules,
        communicator=regression.communicator,
        **options,
    )
    if result.outcome.is_failure:
        raise RunFailure(f"{name} {result.outcome.sentence}.")
    return result


@dataclass(frozen=True)
class MinimizationComputation:
    """The `Computation` of `physml.training.minimize`.

    Parameters
    ----------
    stages
        Of the minimization.
    parameters
        Their shapes and dtypes.
    dtype
        Of the loss.
    """

    stages: tuple[Stage, ...]
    parameters: Any
    dtype: Any

    @property
    def num_steps(self) -> int:
        """The most steps that the run may take."""
        return sum(stage.num_steps for stage in self.stages)

    def rows(
        self, snapshot: TrainingSnapshot, records: Records
    ) -> list[dict[str, Any]]:
        """Return a line for each record."""
        name = self.stages[snapshot.stage].name
        return [
            {"stage": name, "step": int(s), "loss": float(e), "gradient": float(g)}
            for s, e, g in zip(*records, strict=True)
        ]

    def standing(self, row: dict[str, Any]) -> Standing:
        """Say at which step, and how good."""
        return Standing(
            f"at step {row['step']}",
            row["step"],
            f"{row['stage']}  step {row['step']:5d}  loss {row['loss']:.3e}  "
            f"gradient {row['gradient']:.1e}",
        )

    def pack(self, snapshot: TrainingSnapshot) -> tuple[Any, dict[str, Any]]:
        """Take the state of training."""
        return snapshot.state, {
            "stage": snapshot.stage,
            "steps_before": snapshot.steps_before,
        }

    def template(self, information: dict[str, Any]) -> Any:
        """Return the shapes of what `pack` took."""
        stage = self.stages[information["stage"]]
        return state_template(self.parameters, self.dtype, stage)

    def unpack(self, tree: Any, information: dict[str, Any]) -> TrainingSnapshot:
        """Return the snapshot again."""
        return TrainingSnapshot(information["stage"], tree, information["steps_before"])
