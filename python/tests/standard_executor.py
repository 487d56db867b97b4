"""The standard library's own tests of executors, as the interpreter that runs this has them."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any, Callable, Optional
from unittest import SkipTest, TestCase

import wasm_grid

#: The tests' classes that are common to all executors. Python 3.12 and later have them in modules of a package.
COMMON = ("ExecutorTest", "ExecutorShutdownTest", "WaitTests", "AsCompletedTests")

#: What the tests submit, and what that needs.
SUBMITTED = ("mul", "capture", "sleep_and_raise", "sleep_and_print", "MyObject", "make_dummy_object")

#: The modules that those need.
HEADER = "import sys\nimport time\n"


class GridExecutor(wasm_grid.Executor):
    """An executor that is made as those of the standard library are, with the number of workers alone."""

    shared: Optional[wasm_grid.Client] = None

    def __init__(self, max_workers: Optional[int] = None) -> None:
        super().__init__(self.shared, max_workers=max_workers, retries=0)


def modules() -> list[ModuleType]:
    """The modules of the tests.

    Raises:
        SkipTest: This interpreter was installed without its tests.
    """
    try:
        tests = importlib.import_module("test.test_concurrent_futures")
    except ModuleNotFoundError as error:
        raise SkipTest(f"this Python has no tests of its own: {error}") from error
    if not hasattr(tests, "__path__"):
        return [tests]
    names = ("executor", "test_shutdown", "test_wait", "test_as_completed", "util")
    return [importlib.import_module(f"{tests.__name__}.{name}") for name in names]


def send_functions_from(folder: str) -> None:
    """Makes the tests submit functions that hosts can run.

    Hosts have no package `test`, so what the tests submit is written, on its own, into a module of a folder.
    """
    found: dict[str, str] = {}
    for module in modules():
        source = inspect.getsource(module)
        for node in ast.parse(source).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in SUBMITTED:
                found[node.name] = ast.get_source_segment(source, node) or ""
    text = "\n\n".join([HEADER, *(found[name] for name in SUBMITTED if name in found)])
    Path(folder, "standard_functions.py").write_text(f"{text}\n")
    sys.path.insert(0, folder)
    functions = importlib.import_module("standard_functions")
    for module in modules():
        for name in found:
            if hasattr(module, name):
                setattr(module, name, getattr(functions, name))


def programs_find_the_executor(address: str, home: Path, folder: Path) -> None:
    """Programs that the tests start take `GridExecutor` from `concurrent.futures`, as they take the others.

    They submit functions that hosts can run, as the tests do: see :func:`send_functions_from`.
    """
    from test.support import script_helper  # pyright: ignore

    first = textwrap.dedent(
        f"""
        import concurrent.futures, standard_executor
        concurrent.futures.GridExecutor = standard_executor.GridExecutor
        standard_executor.send_functions_from({str(folder)!r})
        """
    )
    path = os.pathsep.join([str(Path(__file__).parent), os.environ["PYTHONPATH"]])
    environment = {"PYTHONPATH": path, "GRID_MANAGER": address, "GRID_HOME": str(home)}

    def run(flag: str, program: str) -> Any:
        return script_helper.assert_python_ok(flag, first + program, **environment)  # pyright: ignore

    for module in modules():
        if hasattr(module, "assert_python_ok"):
            setattr(module, "assert_python_ok", run)


class ExecutorMixin:
    """Gives each test an executor, as the standard library's own mixin does."""

    executor_type = GridExecutor
    worker_count = 5
    executor: GridExecutor

    def setUp(self) -> None:
        super().setUp()  # pyright: ignore
        self.executor = self.executor_type(self.worker_count)

    def tearDown(self) -> None:
        self.executor.shutdown()
        del self.executor
        super().tearDown()  # pyright: ignore


def cases(not_applying: dict[str, str]) -> dict[str, type[TestCase]]:
    """The classes of tests, by name. Those that do not apply must fail, and are shown as skipped, each with its reason.

    Raises:
        SkipTest: This interpreter was installed without its tests.
        AssertionError: A test is listed that there is not.
    """
    found: dict[str, type[TestCase]] = {}
    listed = set(not_applying)
    space = {name: value for module in modules() for name, value in vars(module).items()}
    for name in COMMON:
        common: Any = space[name]
        body: dict[str, Any] = {"__module__": "test_standard_executor"}
        for test in [test for test in dir(common) if test in not_applying]:
            body[test] = _must_fail(getattr(common, test), not_applying[test])
            listed.discard(test)
        found[f"Grid{name}"] = type(f"Grid{name}", (common, ExecutorMixin, space["BaseTestCase"]), body)
    assert not listed, f"these tests are listed and do not exist: {listed}"
    return found


def _must_fail(test: Callable[[Any], None], reason: str) -> Callable[[Any], None]:
    def run(self: TestCase) -> None:
        try:
            test(self)
        except SkipTest:
            raise
        except Exception:
            self.skipTest(f"does not apply: {reason}")
        self.fail(f"applies after all, though it is listed: {reason}")

    return run
