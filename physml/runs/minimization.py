"""How a run that minimizes one loss writes its records and checkpoints."""

from dataclasses import dataclass
from typing import Any

from physml.failures import RunFailure
from physml.runs.run import Standing
from physml.training.compiled_loop import state_template
from physml.training.driver import MinimizeResult, TrainingSnapshot
from physml.training.minimization import minimize
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
    """The `Computation` of `minimize` and `minimize_starts`.

    Parameters
    ----------
    stages
        Of the minimization.
    parameters
        Their shapes and dtypes.
    dtype
        Of the loss.
    num_starts
        Of `minimize_starts`, the first axis of the parameters; None: one `minimize`.
    """

    stages: tuple[Stage, ...]
    parameters: Any
    dtype: Any
    num_starts: int | None = None

    @property
    def num_steps(self) -> int:
        """The most steps that the run may take."""
        return sum(stage.num_steps for stage in self.stages)

    def rows(
        self, snapshot: TrainingSnapshot, records: Records | tuple[Records, ...]
    ) -> list[dict[str, Any]]:
        """Return a line for each record, with its start if there are many."""
        name = self.stages[snapshot.stage].name
        if isinstance(records, Records):
            return _rows_of(records, {"stage": name})
        return [
            row
            for start, own in enumerate(records)
            for row in _rows_of(own, {"stage": name, "start": start})
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
        return snapshot.state, {"stage": snapshot.stage}

    def template(self, information: dict[str, Any]) -> Any:
        """Return the shapes of what `pack` took."""
        stage = self.stages[information["stage"]]
        return state_template(self.parameters, self.dtype, stage, self.num_starts)

    def unpack(self, tree: Any, information: dict[str, Any]) -> TrainingSnapshot:
        """Return the snapshot again."""
        return TrainingSnapshot(information["stage"], tree)


def _rows_of(records: Records, common: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {**common, "step": int(s), "loss": float(e), "gradient": float(g)}
        for s, e, g in zip(*records, strict=True)
    ]
