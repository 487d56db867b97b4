"""Values: what goes in comes out, and what is no value harms nobody."""

import random
import struct
import unittest
from collections import OrderedDict
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import wasm_grid
from wasm_grid import ValueFormError, dumps, loads

KINDS = 13


def value_of(dice: random.Random, depth: int = 3) -> Any:
    """A random value of any kind that comes back as it was."""
    kind = dice.randrange(KINDS if depth else 9)
    if kind == 0:
        return dice.choice([None, True, False])
    if kind == 1:
        return dice.getrandbits(dice.choice([3, 8, 31, 32, 63, 64, 65, 300])) * dice.choice([1, -1])
    if kind == 2:
        return struct.unpack("<d", struct.pack("<Q", dice.getrandbits(64)))[0]
    if kind == 3:
        return "".join(chr(dice.choice([65, 0xE9, 0x4E2D, 0x1F600])) for _ in range(dice.randrange(30)))
    if kind == 4:
        return dice.randbytes(dice.randrange(30))
    if kind == 5:
        zone = timezone(timedelta(minutes=dice.randrange(-720, 720)))
        return datetime(1970, 1, 1, tzinfo=zone) + timedelta(microseconds=dice.getrandbits(52))
    if kind == 6:
        return date.fromordinal(1 + dice.randrange(3_000_000))
    if kind == 7:
        return Decimal((dice.randrange(2), (1, *(dice.randrange(10) for _ in range(20))), dice.randrange(-40, 40)))
    if kind == 8:
        return UUID(int=dice.getrandbits(128))
    if kind == 9:
        return [value_of(dice, depth - 1) for _ in range(dice.randrange(5))]
    if kind == 10:
        return {key_of(dice): value_of(dice, depth - 1) for _ in range(dice.randrange(5))}
    if kind == 11:
        return {key_of(dice) for _ in range(dice.randrange(5))}
    return {(key_of(dice), key_of(dice)): value_of(dice, depth - 1)}


def key_of(dice: random.Random) -> Any:
    return dice.choice([dice.getrandbits(70), f"key {dice.getrandbits(8)}", dice.randbytes(4), (1, ("two", b"3"))])


def same(one: Any, other: Any) -> bool:
    """Equal and of one type; `nan` is like itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other) or (one != one and other != other)
    if isinstance(one, list):
        items = cast("list[Any]", one)
        return len(items) == len(other) and all(map(same, items, other))
    if isinstance(one, dict):
        known = cast("dict[Any, Any]", one)
        return list(known) == list(other) and all(same(known[key], other[key]) for key in known)
    return bool(one == other)


class Values(unittest.TestCase):
    def test_a_value_comes_back_as_it_was(self) -> None:
        dice = random.Random(7)
        for _ in range(10_000):
            value = value_of(dice)
            self.assertTrue(same(loads(dumps(value)), value), value)

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
        for _ in range(100_000):
            data = bytearray(dumps(value_of(dice)) if dice.random() < 0.7 else dice.randbytes(dice.randrange(40)))
            for _ in range(dice.randrange(4)):
                if data:
                    data[dice.randrange(len(data))] = dice.getrandbits(8)
            try:
                loads(data)
            except (ValueFormError, ValueError, TypeError):
                refused += 1
        self.assertGreater(refused, 20_000)

    def test_a_length_is_not_believed(self) -> None:
        for head in ["9b", "bb", "5b", "7b", "d901029b", "c25b"]:
            with self.assertRaises(wasm_grid.ValueFormError):
                loads(bytes.fromhex(head + "7fffffffffffffff"))


if __name__ == "__main__":
    unittest.main()
