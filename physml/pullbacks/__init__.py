"""Hand-written derivatives: attach them, check them, flatten a model's parameters."""

from physml.pullbacks.forms import Derivative, with_pullback
from physml.pullbacks.parameters import destructure
from physml.pullbacks.report import Comparison, PullbackReport, WrongPullback
from physml.pullbacks.verification import check_pullback

__all__ = [
    "Comparison",
    "Derivative",
    "PullbackReport",
    "WrongPullback",
    "check_pullback",
    "destructure",
    "with_pullback",
]
