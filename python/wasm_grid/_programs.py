"""The programs that are installed with this package."""

from __future__ import annotations

import os
import shutil
from importlib.metadata import PackageNotFoundError, files

from ._wasm_grid import GridError


def installed(name: str) -> str | None:
    """Where the program is that was installed with this very package, and so is of the same build; `None` if none was."""
    try:
        paths = files("wasm-grid") or []
    except PackageNotFoundError:
        return None
    located = {path: os.path.realpath(str(path.locate())) for path in paths if path.name in (name, "_programs.py")}
    # Another copy may be installed than the one that was imported.
    if os.path.realpath(__file__) not in located.values():
        return None
    programs = (file for path, file in located.items() if path.name == name and path.parent.name in ("bin", "Scripts"))
    return next(programs, None)


def program(name: str) -> str:
    """Where a program is: beside the package that was installed, or else on the PATH.

    Raises:
        GridError: It is nowhere.
    """
    found = installed(name) or shutil.which(name)
    if found is None:
        raise GridError(f"`{name}` was not installed with this package; type: pip install wasm-grid")
    return found
