"""The standard library's own tests of executors, which the grid's executor passes as far as they apply."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import standard_executor
from grid_processes import Grid, functions_at_hand
from standard_executor import GridExecutor

PRINTS = "it reads what a function printed; on a host that goes to the task's log"
TUPLES = "it expects a tuple; a tuple comes back as a list, as CBOR has no other"

#: Tests that do not apply, and why. One that passes all the same fails.
NOT_APPLYING = {
    "test_submit_keyword": TUPLES,
    "test_map_exception": TUPLES,
    "test_free_reference": "its function returns an object of a class, which has no form as a value",
    "test_no_stale_references": "it submits a method of an object, which no host has",
    "test_interpreter_shutdown": PRINTS,
    "test_hang_gh83386": PRINTS,
}

_opened: list[Any] = []


def setUpModule() -> None:
    folder = tempfile.TemporaryDirectory()
    standard_executor.send_functions_from(folder.name)
    grid = Grid(hosts=1, slots=standard_executor.ExecutorMixin.worker_count, home=functions_at_hand() / "python")
    # What the programs that the tests start build, and what is built here, is the same.
    os.environ["GRID_HOME"] = str(grid.home)
    standard_executor.programs_find_the_executor(grid.address, grid.home, Path(folder.name))
    client = GridExecutor.shared = grid.connect()
    _opened.extend([folder, grid, client])
    # The tests give a task a second or two: by then the host has its modules.
    with GridExecutor() as executor:
        functions = __import__("standard_functions")
        assert [executor.submit(time.sleep, 0).result(), executor.submit(functions.mul, 2, 3).result()] == [None, 6]


def tearDownModule() -> None:
    folder, grid, client = _opened
    GridExecutor.shared = None
    client.close()
    grid.__exit__(None, None, None)
    folder.cleanup()
    functions_at_hand()



globals().update(standard_executor.cases(NOT_APPLYING))
