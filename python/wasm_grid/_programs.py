"""The programs that are installed with this package."""

import os
import shutil
from importlib.metadata import PackageNotFoundError, files

from ._wasm_grid import GridError


def program(name: str) -> str:
    """Where a program is: beside the package that was installed, or else on the PATH.

    Raises:
        GridError: It is nowhere.
    """
    try:
        installed = files("wasm-grid") or []
    except PackageNotFoundError:
        installed = []
    for path in installed:
        if path.name == name and path.parent.name in ("bin", "Scripts"):
            return os.path.realpath(str(path.locate()))
    found = shutil.which(name)
    if found is None:
        raise GridError(f"`{name}` was not installed with this package; type: pip install wasm-grid")
    return found
