"""Functions that were typed at a prompt or in a notebook's cell."""

from __future__ import annotations

import linecache
import math
import operator
import sys
import unittest
from datetime import date
from types import ModuleType
from typing import Any

import wasm_grid
from grid_processes import Grid, functions_at_hand
from wasm_grid import FunctionError, TaskError

CELL = '''
import math
import xml.etree
import xml.etree.ElementTree
from collections import Counter as Count
from example_functions import power

FACTORS = (2, 3.5, {"inner": [1, None, b"x"]})
UNUSED = object()

class Base:
    def doubled(self):
        return 2 * self.number

class Point(Base):
    number: UNUSED = 3
    def __init__(self, number):
        self.number = number

def halve(number):
    return number / 2

again = halve

def plain(number):
    return math.floor(again(number)) + FACTORS[0]

def rich(text: UNUSED, power=pow) -> UNUSED:
    UNUSED = Point(len(text))
    root = xml.etree.ElementTree.fromstring(text)
    return [root.tag, UNUSED.doubled(), Count(text)["<"], FACTORS[2], sorted(part for part in {power(2, 3)})]

def fails(number):
    return halve(number) / 0

def cubed(number):
    return power(number, 3)

def closed(number):
    return UNUSED, number

def countdown(number):
    return [number] if number == 0 else [number, *other(number)]

def other(number):
    return countdown(number - 1)

unnamed = lambda number: number

def calls_unnamed(number):
    return unnamed(number)
'''


def typed(source: str, name: str = "<cell 1>", keep: bool = True) -> dict[str, Any]:
    """Runs a cell in `__main__`, as notebooks do, which keep its lines where tracebacks look for them."""
    main = sys.modules["__main__"]
    if keep:
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    exec(compile(source, name, "exec"), vars(main))
    return vars(main)


class Typed(unittest.TestCase):
    grid: Grid
    client: wasm_grid.Client
    cell: dict[str, Any]
    _main: ModuleType

    @classmethod
    def setUpClass(cls) -> None:
        cls.grid = Grid(hosts=1, home=functions_at_hand() / "python")
        cls.client = cls.grid.connect()
        cls._main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        cls.cell = typed(CELL)

    @classmethod
    def tearDownClass(cls) -> None:
        sys.modules["__main__"] = cls._main
        cls.client.close()
        cls.grid.__exit__(None, None, None)

    def test_a_typed_function_brings_what_it_uses(self) -> None:
        self.assertEqual(list(self.client.map(self.cell["plain"], [4, 9], in_order=True).values()), [4, 6])
        answer = self.client.submit(self.cell["rich"], "<a><b/></a>").result(300)
        self.assertEqual(answer, ["a", 22, 3, {"inner": [1, None, b"x"]}, [8]])
        self.assertEqual(self.client.submit(self.cell["countdown"], 3).result(300), [3, 2, 1, 0])

    def test_a_typed_function_that_is_changed_is_not_built_again(self) -> None:
        self.client.module(self.cell["plain"])
        again = typed("def plain(number):\n    return -number\n", "<cell 2>")["plain"]
        self.assertEqual(self.client.module(again), self.client.module(abs))
        self.assertEqual(list(self.client.map(again, [4]).values()), [-4])

    def test_a_typed_function_may_use_functions_of_files(self) -> None:
        self.assertEqual(self.client.submit(self.cell["cubed"], 3).result(300), 27)

    def test_what_a_typed_function_raises_has_its_lines(self) -> None:
        with self.assertRaisesRegex(TaskError, r"return halve\(number\) / 0\n(.*\n)*.*ZeroDivisionError"):
            next(self.client.map(self.cell["fails"], [1], retries=0).values())

    def test_what_a_typed_function_cannot_take_along_is_refused_by_name(self) -> None:
        cases = [("closed", "closed uses UNUSED, a object of your program"), ("unnamed", "a lambda has no name")]
        for name, words in [*cases, ("calls_unnamed", "calls_unnamed uses unnamed, a function of your program")]:
            with self.assertRaisesRegex(FunctionError, words):
                self.client.map(self.cell[name], [1])
        lost = typed("def lost(number):\n    return number\n", "<stdin>", keep=False)["lost"]
        with self.assertRaisesRegex(FunctionError, "nobody has kept the lines of lost"):
            self.client.map(lost, [1])

    def test_functions_of_the_standard_library_share_one_module(self) -> None:
        self.assertEqual(self.client.module(math.factorial), self.client.module(str.upper))
        self.assertEqual(list(self.client.map(str.upper, ["a"]).values()), ["A"])
        self.assertEqual(list(self.client.map(date.fromisoformat, ["2026-11-27"]).values()), [date(2026, 11, 27)])
        with wasm_grid.Executor(self.client) as executor:
            self.assertEqual(list(executor.map(operator.mul, range(4), range(4))), [0, 1, 4, 9])


if __name__ == "__main__":
    unittest.main()
