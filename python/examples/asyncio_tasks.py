"""Waits for tasks with `async for`, while the program does something else.

Whatever takes time in `map` itself (a function is built the first time) goes into a thread; the outcomes are awaited.

    python asyncio_tasks.py
"""

from __future__ import annotations

import asyncio

import wasm_grid as grid
from primes import primes_between


async def count(client: grid.Client) -> int:
    ranges = [(low, low + 1_000) for low in range(0, 30_000, 1_000)]
    outcomes = await asyncio.to_thread(client.map, primes_between, ranges)
    found = 0
    async for outcome in outcomes:
        found += outcome.value
    return found


async def main() -> None:
    with grid.connect() as client:
        counting = asyncio.create_task(count(client))
        beats = 0
        # This stands for whatever else the program does: a server, a window, other tasks.
        while not counting.done():
            await asyncio.sleep(0.01)
            beats += 1
        print(await counting, "primes below 30000; meanwhile the loop went round", beats, "times")


if __name__ == "__main__":
    asyncio.run(main())
