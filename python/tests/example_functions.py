"""Functions that the tests send to hosts."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from typing import Any


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
