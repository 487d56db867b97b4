"""How the memory of a program grows with the number of its jobs: many small ones, one after the other, on one client.

    python many_jobs.py primes.wasm 10000
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import wasm_grid


def resident() -> float:
    """MiB of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def main(module: str, jobs: int) -> None:
    """Does so many jobs of ten tasks, and prints what the process has by then."""
    client = wasm_grid.connect(slots=2)
    started = time.monotonic()
    with client:
        for number in range(1, jobs + 1):
            assert len(list(client.map(module, [(0, 10)] * 10))) == 10
            if number in (1, 100) or number % 1_000 == 0:
                files = len(os.listdir("/proc/self/fd"))
                print(
                    f"{number} jobs: {resident():.1f} MiB, {threading.active_count()} threads, {files} files, "
                    f"{number / (time.monotonic() - started):.0f} jobs/s",
                    flush=True,
                )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10_000)
