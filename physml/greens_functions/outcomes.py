"""What has failed, in words: the first few by name, the cause, and what to do."""

from collections.abc import Iterable
from itertools import islice
from typing import Literal

from physml.failures import expected

SHOWN = 3  # of what has failed

OnFailure = Literal["raise", "return"]

NOT_FINITE = "values that are not finite; look for NaN or infinity in the operator"
NOT_REACHED = (
    "a Chebyshev series of max_iterations products is too short there, as z lies on "
    "the interval that holds the spectrum or very near to it, or the spectrum reaches "
    "beyond it; take another method, or a larger distance"
)


def named(failed: int, names: Iterable[str]) -> str:
    """Return the first few names, and how many more there are."""
    shown = list(islice(names, SHOWN))
    if failed > len(shown):
        shown.append(f"and {failed - len(shown)} more")
    return ", ".join(shown)


def require_on_failure(on_failure: str) -> None:
    """Refuse what is neither "raise" nor "return"."""
    if on_failure not in ("raise", "return"):
        raise expected("'raise' or 'return'", repr(on_failure), "choose one of the two")
