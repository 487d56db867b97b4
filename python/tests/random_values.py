"""Random values of all kinds, and when two of them are the same."""

from __future__ import annotations

import random
import struct
from array import array
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from math import prod
from typing import Any, Union, cast
from uuid import UUID

#: Those that hold no other values come first, and of these the ones that can be keys.
KINDS = ["simple", "int", "float", "str", "bytes", "datetime", "date", "Decimal", "UUID", "array", "shaped"]
HASHABLE = len(KINDS) - 2
HOLDERS = ["list", "dict", "set", "keys"]

FLOATS = [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 5e-324, 1.7976931348623157e308]
EDGES = [0, 23, 24, 2**8, 2**16, 2**31, 2**32, 2**53, 2**63, 2**64, 2**128]
LETTERS = "bBhHiIqQfd"


def value_of(dice: random.Random, depth: int = 3) -> Any:
    """A random value of any kind that comes back as it was; `depth` are inside of each other at most."""
    kind = dice.choice(KINDS + HOLDERS if depth else KINDS)
    if kind == "list":
        return [value_of(dice, depth - 1) for _ in range(dice.randrange(5))]
    if kind == "dict":
        return {key_of(dice): value_of(dice, depth - 1) for _ in range(dice.randrange(5))}
    if kind == "set":
        return {key_of(dice) for _ in range(dice.randrange(5))}
    if kind == "keys":
        return {(key_of(dice), key_of(dice)): value_of(dice, depth - 1)}
    if kind == "array":
        letter = dice.choice(LETTERS)
        return array(letter, dice.randbytes(dice.randrange(9) * array(letter).itemsize))
    if kind == "shaped":
        letter, shape = dice.choice(LETTERS), [dice.randrange(1, 4) for _ in range(dice.choice([0, 2, 3, 4]))]
        view: Any = memoryview(bytearray(dice.randbytes(prod(shape) * array(letter).itemsize)))
        return view.cast(letter, shape)
    return _plain(dice, kind)


def key_of(dice: random.Random, depth: int = 2) -> Any:
    """A value that can be a key."""
    kind = dice.choice(KINDS[:HASHABLE] + ["tuple", "frozenset"] if depth else KINDS[:HASHABLE])
    if kind == "tuple":
        return tuple(key_of(dice, depth - 1) for _ in range(dice.randrange(4)))
    if kind == "frozenset":
        return frozenset(key_of(dice, depth - 1) for _ in range(dice.randrange(4)))
    return _plain(dice, kind)


def _plain(dice: random.Random, kind: str) -> Any:
    if kind == "simple":
        return dice.choice([None, True, False])
    if kind == "int":
        near = dice.choice(EDGES) + dice.choice([-1, 0, 1])
        far = dice.getrandbits(dice.choice([3, 8, 31, 32, 63, 64, 65, 300]))
        return dice.choice([near, far]) * dice.choice([1, -1])
    if kind == "float":
        return dice.choice([*FLOATS, struct.unpack("<d", dice.randbytes(8))[0]])
    if kind == "str":
        return "".join(chr(dice.choice([0, 65, 0xE9, 0x4E2D, 0xFFFF, 0x1F600])) for _ in range(dice.randrange(30)))
    if kind == "bytes":
        return dice.randbytes(dice.randrange(30))
    if kind == "datetime":
        zone = timezone(timedelta(minutes=dice.randrange(-1439, 1440)))
        day = date.fromordinal(dice.randrange(2, date.max.toordinal()))
        moment = datetime(day.year, day.month, day.day, tzinfo=zone)
        return moment + timedelta(microseconds=dice.choice([0, dice.randrange(86_400_000_000)]))
    if kind == "date":
        return date.fromordinal(dice.randrange(1, date.max.toordinal() + 1))
    if kind == "Decimal":
        digits = (1, *(dice.randrange(10) for _ in range(dice.randrange(30))))
        return Decimal((dice.randrange(2), digits, dice.randrange(-40, 40)))
    assert kind == "UUID"
    return UUID(int=dice.getrandbits(128))


def same(one: Any, other: Any) -> bool:
    """Equal and of one type, to the sign of a zero and the digits of a decimal; `nan` is like itself.

    Arrays are the same if their numbers, the kind of these and the shape are, whatever holds them.
    """
    return form_of(one) == form_of(other)


def form_of(value: Any) -> Any:
    """Something that is equal for the same values, and for no others."""
    name = type(value).__name__
    if value is None or isinstance(value, (bool, int, str, bytes, date, UUID)):
        # A moment is equal to the same one in another time zone.
        return name, value.isoformat() if isinstance(value, datetime) else value
    if isinstance(value, float):
        return name, "nan" if value != value else struct.pack("d", value)
    if isinstance(value, Decimal):
        return name, value.as_tuple()
    if isinstance(value, (list, tuple)):
        return name, list(map(form_of, cast("list[Any]", value)))
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return name, [(form_of(key), form_of(item)) for key, item in items]
    if isinstance(value, (set, frozenset)):
        return name, sorted(map(form_of, cast("set[Any]", value)), key=repr)
    view = memoryview(value)
    kind = "f" if view.format in "efd" else "u" if view.format.isupper() else "i"
    return f"{kind}{view.itemsize}", view.shape, view.tobytes()


def values_of(seed: int, count: int) -> Iterator[Any]:
    """Random values from a seed."""
    dice = random.Random(seed)
    return (value_of(dice) for _ in range(count))


def first_difference(values: list[Any], others: list[Any]) -> Union[str, None]:
    """What to say about the first value that is not the same as the other one; `None` if all are."""
    if len(values) != len(others):
        return f"{len(others)} values for {len(values)}"
    for number, (value, other) in enumerate(zip(values, others)):
        if not same(value, other):
            return f"value {number} was {value!r}, and is {other!r}"
    return None
