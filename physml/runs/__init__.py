"""What a run shows and leaves behind: folders, progress, tables, pictures, exit codes.

Needs the libraries of the extra `experiments`.
"""

from importlib.util import find_spec

_missing = [name for name in ("matplotlib", "rich", "tyro") if find_spec(name) is None]
if _missing:
    raise ImportError(
        f"Expected {', '.join(_missing)} to be installed for experiments: "
        "run pip install 'physml[experiments]', or pip install '.[experiments]' in a "
        "clone."
    )
