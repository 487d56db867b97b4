"""Functions and workers that the tests send to hosts, in one file so that it is built once."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import wasm_grid as grid
from wasm_grid.distributed_worker import DistributedWorker


def primes_between(limits: list[int]) -> int:
    """Counts the primes from the first number to the second, exclusive."""
    low, high = limits
    return sum(all(number % other for other in range(2, int(number**0.5) + 1)) for number in range(max(low, 2), high))


def several(number: int) -> Any:
    """Answers with values of many kinds, or fails."""
    if number == 3:
        raise ValueError(f"three is {number}")
    import textwrap as late

    return {
        "set": {1, (2, 3)},
        "moment": datetime(2026, 11, 27, tzinfo=timezone.utc),
        "decimal": Decimal("1.50") * number,
        "text": late.dedent("  x"),
    }


def power(base: int, exponent: int = 2) -> int:
    """A function of more than one argument."""
    return base**exponent


def identity(value: Any) -> Any:
    """Answers with what it gets."""
    return value


@grid.worker
class Adder(grid.Worker):
    """Keeps a sum."""

    def __init__(self, start: int = 0, *, step: int = 1) -> None:
        self.sum = start
        self.step = step

    def handle_msg(self, msg: Any) -> None:
        if msg == "break":
            raise ValueError("it was told to break")
        if not isinstance(msg, int):
            return grid.fail(f"expected a number, and not {msg!r}")
        self.sum += msg * self.step
        self.send({"sum": self.sum, "seen": {msg}})


class Counter(grid.Worker):
    """Works in slices: counts down, and says when it is there."""

    def __init__(self) -> None:
        self.left = 0
        self.slices = 0

    def handle_msg(self, msg: int) -> None:
        self.left = msg

    def loop(self) -> bool:
        if self.left > 0:
            self.left -= 1
            self.slices += 1
            if self.left == 0:
                self.send(self.slices)
        return self.left > 0


class Slow(DistributedWorker):
    """Answers each message after some slices of work, with what it was made of."""

    def __init__(self, pipe: Any, name: str, *, factor: int = 1) -> None:
        super().__init__(pipe)
        self.name = name
        self.factor = factor
        self.rounds = 0
        self.number = 0

    def handle_msg(self, msg: int) -> None:
        self.number, self.rounds = msg, 20

    def loop(self) -> None:
        if self.rounds > 0:
            self.rounds -= 1
            sum(range(10_000))
            if self.rounds == 0:
                self.send((self.name, self.number * self.factor))


class Broken(DistributedWorker):
    """Fails with its first message."""

    def handle_msg(self, msg: Any) -> None:
        raise RuntimeError(f"no {msg}, please")
