"""Functions that run on hosts without Python."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, Callable

import wasm_grid
from example_functions import power, primes_between, several
from grid_processes import OneHostTest
from wasm_grid import FunctionError, TaskError


SCRIPT = """
import importlib
import wasm_grid as grid
from beside import double

@grid.worker(modules=["named.deep"])
def quadruple(number):
    return importlib.import_module("named.deep").same(double(double(number)))

if __name__ == "__main__":
    with grid.connect() as client:
        print(sorted(client.map(quadruple, range(4)).values()))
"""


def doubled(number: int) -> int:
    return 2 * number


class Functions(OneHostTest):
    def test_a_function_counts_primes_where_there_is_no_python(self) -> None:
        ranges = [(low, low + 1_000) for low in range(0, 30_000, 1_000)]
        outcomes = list(self.client.map(primes_between, ranges))
        self.assertEqual(sum(outcome.value for outcome in outcomes), 3_245)
        self.assertEqual({outcome.host for outcome in outcomes}, {"host0"})

    def test_what_a_function_raises_is_the_tasks_error_with_its_lines(self) -> None:
        good, bad = self.client.map(several, [2, 3], retries=0, in_order=True)
        expected = {
            "set": {1, (2, 3)},
            "moment": datetime(2026, 11, 27, tzinfo=timezone.utc),
            "decimal": Decimal("3.00"),
            "text": "x",
        }
        self.assertEqual(good.value, expected)
        with self.assertRaises(TaskError) as raised:
            bad.value
        for words in ("ValueError: three is 3", "in several", 'raise ValueError(f"three is {number}")'):
            self.assertIn(words, str(raised.exception))

    def test_an_executor_calls_functions_with_all_of_their_arguments(self) -> None:
        with wasm_grid.Executor(self.client, retries=0) as executor:
            futures = [executor.submit(power, 2), executor.submit(power, 3, 4), executor.submit(power, 2, exponent=100)]
            self.assertEqual([future.result(300) for future in futures], [4, 81, 2**100])
            self.assertEqual(list(executor.map(power, range(5), range(5))), [1, 1, 4, 27, 256])
            with self.assertRaisesRegex(TaskError, "TypeError"):
                executor.submit(power, 2, "two").result(300)  # pyright: ignore[reportArgumentType]

    def test_a_script_sends_its_own_function_and_the_module_beside_it(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "beside.py").write_text("def double(number):\n    return 2 * number\n")
            Path(folder, "named").mkdir()
            Path(folder, "named", "deep.py").write_text("def same(number):\n    return number\n")
            script = Path(folder, "my-script.py")
            script.write_text(SCRIPT)
            environment = {**os.environ, "GRID_MANAGER": self.grid.address, "GRID_HOME": str(self.grid.home)}
            done = subprocess.run(
                [sys.executable, script], capture_output=True, text=True, env=environment, timeout=300
            )
        self.assertEqual((done.stdout, done.stderr), ("[0, 4, 8, 12]\n", ""))

    def test_what_cannot_go_is_refused_with_what_to_do(self) -> None:
        def inner(_: Any) -> None: ...

        numbers: list[int] = []
        cases: list[tuple[Callable[[int], Any], str]] = [
            (lambda number: number, "a lambda has no name"),
            (inner, "move it to the top level"),
            (numbers.append, "not a function of a module"),
        ]
        for function, words in cases:
            with self.assertRaisesRegex(FunctionError, words):
                self.client.map(function, [1])
            with self.assertRaises(FunctionError):
                wasm_grid.worker(function)
            with self.assertRaises(FunctionError):
                wasm_grid.worker(modules=["json"])(function)

    def test_a_named_module_that_is_not_there_is_refused(self) -> None:
        marked = wasm_grid.worker(modules=["not.there"])(doubled)
        with self.assertRaisesRegex(FunctionError, "doubled names the module not.there"):
            self.client.map(marked, [1])

    def test_a_module_with_compiled_parts_is_refused_with_the_line_that_imports_it(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "fast").mkdir()
            Path(folder, "fast", "__init__.py").write_text("")
            Path(folder, "fast", "inner.abi3.so").write_bytes(b"\x7fELF")
            Path(folder, "needs_fast.py").write_text("import os\nimport fast\n\ndef go(number):\n    return number\n")
            program = "import needs_fast, wasm_grid\nwasm_grid._functions.build(needs_fast.go)"
            environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{os.environ['PYTHONPATH']}"}
            done = subprocess.run(
                [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60
            )
        self.assertIn("needs_fast.py, line 2, needs fast, which has compiled parts", done.stderr)


if __name__ == "__main__":
    unittest.main()
