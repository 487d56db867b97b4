"""`python -m wasm_grid` is the command `grid`."""

import os
import sys
from importlib.metadata import PackageNotFoundError, files


def program(name: str) -> str:
    """Where a program is that was installed with this package."""
    try:
        installed = files("wasm-grid") or []
    except PackageNotFoundError:
        installed = []
    for path in installed:
        if path.name == name and path.parent.name in ("bin", "Scripts"):
            return os.path.realpath(path.locate())
    raise SystemExit(f"`{name}` was not installed with this package; install the wheel: pip install wasm-grid")


if __name__ == "__main__":
    grid = program("grid")
    os.execv(grid, ["grid", *sys.argv[1:]])
