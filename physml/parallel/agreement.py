"""Do all processes run the same thing? Found out at the start, not by a hang."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

import jax

_PACKAGES = ("physml", "jax", "jaxlib", "flax", "optax", "numpy", "mpi4jax", "mpi4py")


def installation() -> dict[str, object]:
    """Return the versions, and the precision, that change what a program computes."""
    versions = {name: _version(name) for name in _PACKAGES}
    return {
        "python": platform.python_version(),
        **versions,
        "float64": bool(jax.config.read("jax_enable_x64")),
    }


def first_disagreement(entries: Sequence[Mapping[str, object]]) -> str | None:
    """Return a sentence on the first entry in which a process differs from process 0.

    Parameters
    ----------
    entries
        The names and values of each process.

    Examples
    --------
    >>> first_disagreement([{"steps": 400}, {"steps": 400}, {"steps": 500}])
    'steps = 400 on rank 0 and 500 on rank 2'
    """
    for name in dict.fromkeys(name for entry in entries for name in entry):
        values = [_show(entry, name) for entry in entries]
        for rank, value in enumerate(values):
            if value != values[0]:
                return f"{name} = {values[0]} on rank 0 and {value} on rank {rank}"
    return None


def _show(entry: Mapping[str, object], name: str) -> str:
    return repr(entry[name]) if name in entry else "nothing"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
