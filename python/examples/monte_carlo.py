"""Estimates pi by throwing darts at a square, with random numbers that are the same in every run.

Each task makes its own numbers from a seed that comes with it. That matters on a grid: a task whose host dies is done again
elsewhere, and gives the same answer. `random.random()` works, too, but no two runs of it agree.

    python monte_carlo.py 100
"""

from __future__ import annotations

import random
import sys

import wasm_grid as grid

DARTS = 20_000


# Checks here, and not when it is first used, that the function can go to a host.
@grid.worker
def hits(seed: int) -> int:
    """How many darts of a task are in the quarter of a circle."""
    dice = random.Random(seed)
    return sum(dice.random() ** 2 + dice.random() ** 2 <= 1 for _ in range(DARTS))


def main(tasks: int) -> None:
    with grid.connect() as client:
        total = sum(client.map(hits, range(tasks)).values())
    print(f"pi is about {4 * total / (tasks * DARTS):.6f}, by {tasks * DARTS} darts")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
