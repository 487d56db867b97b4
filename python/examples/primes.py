"""Counts primes: a function, and a list of what it is called with.

`map` builds the file of the function into a module, once, and calls the function with each item on whatever hosts have
joined; they need no Python. Values come as tasks end, not in the order of the list, which a sum does not mind.

    python primes.py 150000
"""

from __future__ import annotations

import sys

import wasm_grid as grid

STEP = 1_000


def primes_between(limits: tuple[int, int]) -> int:
    """Counts the primes from the first number to the second, exclusive. A task should take 10 ms or more, as a thousand do."""
    low, high = limits
    return sum(all(number % other for other in range(2, int(number**0.5) + 1)) for number in range(max(low, 2), high))


def main(below: int) -> None:
    # A generator will do: items are taken as hosts get on with them.
    ranges = ((low, min(low + STEP, below)) for low in range(0, below, STEP))
    with grid.connect() as client:
        print(sum(client.map(primes_between, ranges).values()), "primes below", below)


# The file is loaded on hosts as well, where nothing is to be started.
if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 150_000)
