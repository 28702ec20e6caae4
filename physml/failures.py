"""Errors for people: what was expected, what came, what to do."""


def expected(what: str, got: object, cure: str) -> ValueError:
    """Build the one-sentence error of a bad argument.

    Parameters
    ----------
    what
        What the function takes, as in "omega > 0".
    got
        What it was given.
    cure
        The call or the value that mends it.

    Examples
    --------
    >>> raise expected("omega > 0", -1.0, "choose a positive frequency")
    Traceback (most recent call last):
        ...
    ValueError: Expected omega > 0, got -1.0: choose a positive frequency.
    """
    return ValueError(f"Expected {what}, got {got}: {cure}.")


def expected_type(what: str, got: object, cure: str) -> TypeError:
    """Build the one-sentence error of an argument of the wrong type or dtype.

    Parameters
    ----------
    what
        What the function takes, as in "real or complex spins".
    got
        What it was given.
    cure
        The call or the value that mends it.

    Examples
    --------
    >>> raise expected_type("float spins", "int32", "call spins.astype(float)")
    Traceback (most recent call last):
        ...
    TypeError: Expected float spins, got int32: call spins.astype(float).
    """
    return TypeError(f"Expected {what}, got {got}: {cure}.")


class RunFailure(RuntimeError):
    """A run that could not go on or fell short: the message says why, and the cure."""
