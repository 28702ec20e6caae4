"""Self-learning Monte Carlo as a run: data set, training, measurements, pictures."""

from physml.runs.self_learning.experiment import run_self_learning
from physml.runs.self_learning.problem import SelfLearningConfiguration

__all__ = ["SelfLearningConfiguration", "run_self_learning"]
