"""Feeds `loads` with malformed bytes: `python3 fuzz_values.py --seconds 60 [--seed N]`.

Bytes may be refused with `ValueFormError`, or be a value that comes back as it was. They are read in a process of their
own, with little memory: if it crashes, hangs or takes too much, that is told with the seed and the input.
"""

from __future__ import annotations

import argparse
import importlib
import mmap
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from typing import Any, Callable

from random_values import same, value_of
from wasm_grid import ValueFormError, dumps, loads

#: Bytes that a process may take beyond what it has when it begins. An input is far smaller.
MEMORY_MAX = 128 << 20
INPUT_MAX = 1 << 16

#: Seconds that one input may take.
HANGS_AFTER = 30

TAGS = [*range(0, 6), 37, 40, *range(62, 92), 258, 1004, 1040, 55799]
TEXTS = ["", "é😀", "2026-11-27", "2026-11-27T01:02:03.5Z", "0001-01-01T00:00:00+23:59", "20261127T01", "9" * 40]
HEADS = ["81", "9f", "a1", "a100", "bf", "d9010281", "d82882", "c482", "d9d9f7"]
LENGTHS = [0, 1, 23, 24, 255, 2**16, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1]


def head(kind: int, number: int) -> bytes:
    """The first bytes of an item."""
    if number < 24:
        return bytes([kind << 5 | number])
    size = next(size for size in (1, 2, 4, 8) if number < 1 << 8 * size)
    return bytes([kind << 5 | 23 + size.bit_length()]) + number.to_bytes(size, "big")


def item_of(dice: random.Random, depth: int) -> bytes:
    """A random item, most likely well-formed; what it says need not make sense."""
    kind = dice.randrange(8 if depth else 4)
    if kind < 2:
        return head(kind, dice.choice([dice.getrandbits(5), dice.getrandbits(64), dice.choice(LENGTHS)]))
    if kind == 2:
        return text_of(dice, 2, dice.randbytes(dice.choice([0, 1, 2, 4, 8, 12, 16, 48])))
    if kind == 3:
        return text_of(dice, 3, dice.choice(TEXTS).encode())
    if kind in (4, 5):
        count = dice.randrange(4)
        items = b"".join(item_of(dice, depth - 1) for _ in range(count * (kind - 3)))
        return bytes([kind << 5 | 31]) + items + b"\xff" if dice.random() < 0.3 else head(kind, count) + items
    if kind == 6:
        tag = dice.choice(TAGS)
        return head(6, tag) + (array_of(dice) if tag == 40 else item_of(dice, depth - 1))
    return dice.choice([bytes([0xE0 | dice.randrange(32)]), b"\xf9" + dice.randbytes(2), b"\xfb" + dice.randbytes(8)])


def text_of(dice: random.Random, kind: int, data: bytes) -> bytes:
    if dice.random() < 0.8:
        return head(kind, len(data)) + data
    cut = dice.randrange(len(data) + 1)
    parts = [head(kind, len(part)) + part for part in (data[:cut], data[cut:])]
    return bytes([kind << 5 | 31]) + b"".join(parts) + b"\xff"


def array_of(dice: random.Random) -> bytes:
    """What follows the tag of an array with dimensions; some are lies."""
    shape = [dice.choice([1, 1, 2, 3, dice.choice(LENGTHS)]) for _ in range(dice.choice([0, 1, 2, 3, 64, 70]))]
    count = 1
    for length in shape:
        count = min(count * length, 64)
    lengths = head(4, len(shape)) + b"".join(head(0, length) for length in shape)
    data = dice.randbytes(count * dice.choice([1, 2, 4, 8]))
    return head(4, 2) + lengths + head(6, dice.choice(TAGS)) + head(2, len(data)) + data


def flipped(dice: random.Random, data: bytearray) -> None:
    for _ in range(dice.randrange(1, 5)):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def overwritten(dice: random.Random, data: bytearray) -> None:
    data[dice.randrange(len(data))] = dice.choice([0x1B, 0x5B, 0x5F, 0x7F, 0x9B, 0x9F, 0xBB, 0xBF, 0xDB, 0xFF])


def cut(dice: random.Random, data: bytearray) -> None:
    del data[dice.randrange(len(data)) :]


def shortened(dice: random.Random, data: bytearray) -> None:
    at = dice.randrange(len(data))
    del data[at : at + dice.randrange(1, 9)]


def lengthened(dice: random.Random, data: bytearray) -> None:
    """A head in the middle says another length."""
    at = dice.randrange(len(data))
    data[at : at + 1] = head(data[at] >> 5, dice.choice(LENGTHS))


def spliced(dice: random.Random, data: bytearray) -> None:
    other = dumps(value_of(dice))
    at, start = dice.randrange(len(data)), dice.randrange(len(other))
    data[at : at + dice.randrange(9)] = other[start : start + dice.randrange(1, 40)]


def nested(dice: random.Random, data: bytearray) -> None:
    at = dice.randrange(len(data))
    data[at:at] = bytes.fromhex(dice.choice(HEADS)) * dice.choice([1, 2, 60, 127, 128, 129, 5000])


Mutation = Callable[[random.Random, bytearray], None]
MUTATIONS: list[Mutation] = [flipped, overwritten, cut, shortened, lengthened, spliced, nested]


def input_of(dice: random.Random) -> bytes:
    """Bytes to be read: a valid encoding, changed or not, or anything."""
    chance = dice.random()
    if chance < 0.1:
        return dice.randbytes(dice.randrange(60))
    data = bytearray(dumps(value_of(dice)) if chance < 0.5 else item_of(dice, 4))
    for _ in range(dice.choice([0, 1, 1, 2, 4])):
        if data:
            dice.choice(MUTATIONS)(dice, data)
    return bytes(data[:INPUT_MAX])


def is_value(data: bytes) -> bool:
    """True if bytes are a value, which then comes back as it was; false if they are refused."""
    try:
        value = loads(data)
    except ValueFormError:
        return False
    assert same(loads(dumps(value)), value), value
    return True


def read_all(seed: int, seconds: float, place: str) -> None:
    """The process that may crash. It leaves each input in a file first."""
    try:
        numpy: Any = importlib.import_module("numpy")
    except ImportError:
        numpy = None
    with open("/proc/self/statm") as sizes:
        memory = int(sizes.read().split()[0]) * mmap.PAGESIZE + MEMORY_MAX
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    with open(place, "r+b") as file:
        noted = mmap.mmap(file.fileno(), 0)
    dice = random.Random(seed)
    end, counts = time.monotonic() + seconds, [0, 0]
    while time.monotonic() < end:
        data = input_of(dice)
        noted[: 12 + len(data)] = struct.pack("<QI", sum(counts), len(data)) + data
        # As in a program that has imported it, and as in one that has not.
        sys.modules["numpy"] = dice.choice([numpy, None])  # pyright: ignore[reportArgumentType]
        counts[is_value(data)] += 1
    print(f"{sum(counts)} inputs: {counts[1]} were values, {counts[0]} were refused")


def watch(seed: int, seconds: float) -> int:
    """Has inputs read by another process; the exit status."""
    print(f"seed {seed}", flush=True)
    with tempfile.NamedTemporaryFile() as place:
        place.truncate(INPUT_MAX + 12)
        command = [sys.executable, __file__, "--seed", str(seed), "--seconds", str(seconds), "--place", place.name]
        child = subprocess.Popen(command)
        try:
            status = child.wait(seconds + HANGS_AFTER)
        except subprocess.TimeoutExpired:
            child.kill()
            status = child.wait()
        if status != 0:
            number, length = struct.unpack("<QI", place.read(12))
            print(f"seed {seed}, input {number}, exit status {status}: {place.read(length).hex()}")
    return int(status != 0)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments.add_argument("--place", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.place is None:
        return watch(chosen.seed, chosen.seconds)
    try:
        read_all(chosen.seed, chosen.seconds, chosen.place)
    except BaseException:
        # A panic of the extension is no `Exception`.
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
