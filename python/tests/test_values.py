"""Values: what goes in comes out, and what is no value harms nobody."""

import random
import subprocess
import sys
import unittest
from collections import OrderedDict
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import wasm_grid
from random_values import first_difference, same, value_of, values_of
from wasm_grid import ValueFormError, dumps, loads


class Values(unittest.TestCase):
    def test_a_value_comes_back_as_it_was(self) -> None:
        values = list(values_of(7, 10_000))
        self.assertIsNone(first_difference(values, [loads(dumps(value)) for value in values]))

    def test_what_is_like_a_value_goes_as_that_value(self) -> None:
        for value, like in [((1, (2,)), [1, [2]]), (bytearray(b"x"), b"x"), (memoryview(b"yz")[1:], b"z")]:
            self.assertEqual(loads(dumps(value)), like)
        self.assertEqual(loads(dumps(OrderedDict(b=1, a=2))), {"b": 1, "a": 2})
        self.assertEqual(loads(dumps(frozenset({1}))), {1})

    def test_examples_of_the_standard_mean_what_it_says(self) -> None:
        for text, value in [
            ("00", 0),
            ("1903e8", 1000),
            ("1bffffffffffffffff", 2**64 - 1),
            ("c249010000000000000000", 2**64),
            ("3bffffffffffffffff", -(2**64)),
            ("c349010000000000000000", -(2**64) - 1),
            ("f93c00", 1.0),
            ("f90001", 5.960464477539063e-8),
            ("f97c00", float("inf")),
            ("fa47c35000", 100000.0),
            ("f7", None),
            ("c074323031332d30332d32315432303a30343a30305a", datetime(2013, 3, 21, 20, 4, tzinfo=timezone.utc)),
            ("5f42010243030405ff", b"\1\2\3\4\5"),
            ("7f657374726561646d696e67ff", "streaming"),
            ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
            ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
            ("a201020304", {1: 2, 3: 4}),
            ("c48221196ab3", Decimal("273.15")),
            ("d9d9f70a", 10),
        ]:
            self.assertTrue(same(loads(bytes.fromhex(text)), value), text)

    def test_what_has_no_form_is_refused_by_name(self) -> None:
        for value, named in [
            (object(), "object"),
            (1j, "complex"),
            (print, "builtin_function_or_method"),
            (datetime.now(), "time zone"),
            (Decimal("nan"), "not finite"),
            ("\ud800", "surrogate"),
            ([{"deep": [timedelta(1)]}], "timedelta"),
            (range(3), "range"),
        ]:
            with self.assertRaisesRegex(ValueFormError, named):
                dumps(value)
        nested: Any = []
        for _ in range(200):
            nested = [nested]
        with self.assertRaisesRegex(ValueFormError, "nested"):
            dumps(nested)
        with self.assertRaisesRegex(ValueFormError, "nested"):
            loads(b"\x81" * 100_000 + b"\0")

    def test_bytes_that_are_no_value_raise_and_nothing_else(self) -> None:
        dice = random.Random(11)
        refused = 0
        for _ in range(30_000):
            data = bytearray(dumps(value_of(dice)) if dice.random() < 0.7 else dice.randbytes(dice.randrange(40)))
            for _ in range(dice.randrange(4)):
                if data:
                    data[dice.randrange(len(data))] = dice.getrandbits(8)
            try:
                loads(data)
            except ValueFormError:
                refused += 1
        self.assertGreater(refused, 6_000)

    def test_three_seconds_of_malformed_bytes_crash_nothing(self) -> None:
        script = Path(__file__).with_name("fuzz_values.py")
        done = subprocess.run([sys.executable, script, "--seconds", "3"], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)

    def test_a_moment_without_a_time_zone_of_whole_minutes_is_none(self) -> None:
        for text in ["2026-11-27T01:02:03", "2026-11-27", "2026-11-27T01:02:03+01:00:30", "yesterday"]:
            with self.assertRaises(ValueFormError):
                loads(b"\xc0" + bytes([0x60 | 24, len(text)]) + text.encode())

    def test_a_length_is_not_believed(self) -> None:
        for head in ["9b", "bb", "5b", "7b", "d901029b", "c25b"]:
            with self.assertRaises(wasm_grid.ValueFormError):
                loads(bytes.fromhex(head + "7fffffffffffffff"))


if __name__ == "__main__":
    unittest.main()
