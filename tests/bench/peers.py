"""The same work by the grid and by what people use today, each on two processors and in a process of its own.

    peers.py noop TASKS        no-op tasks, each by itself: how many a second, and the memory of the program that maps
    peers.py primes BELOW      a function in Python: seconds from the program's start, and in a second run of it

Each line ends with the ratio to the first line of its table: figures of different runs are not to be compared.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

PROGRAMS = Path(os.environ["GRID_PROGRAMS"])
ECHO = Path(__file__).parents[2] / "modules" / "echo.wat"

# What does fewer than 5 000 tasks a second gets a part of them: their speed does not depend on their number.
SLOW_TASKS_MAX = 20_000
DASK_TASKS_MAX = 5_000

#: Maps a function over inputs in any order; the program that uses it is told when the system is up.
Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


def nothing(number: int) -> int:
    return number


@contextlib.contextmanager
def grid_map(is_noop: bool) -> Iterator[Map]:
    from grid_processes import Grid

    kept = os.environ.get("GRID_PEERS_HOME")
    with Grid(hosts=2, slots=1, home=Path(kept) if kept else None) as grid, grid.connect() as client:
        if is_noop:
            # The module of the Rust client's row.
            upload = [PROGRAMS / "grid", "module", "upload", "--quiet", ECHO]
            subprocess.run(upload, env={"GRID_HOME": str(grid.home)}, check=True, stdout=subprocess.DEVNULL)
        yield lambda function, inputs: client.map("echo" if is_noop else function, inputs).values()


@contextlib.contextmanager
def pool_map(_: bool) -> Iterator[Map]:
    import multiprocessing

    with multiprocessing.Pool(2) as pool:
        yield lambda function, inputs: pool.imap_unordered(function, inputs, chunksize=1)


@contextlib.contextmanager
def executor_map(_: bool) -> Iterator[Map]:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2) as executor:
        yield executor.map


@contextlib.contextmanager
def ray_map(_: bool) -> Iterator[Map]:
    import ray

    def answers(function: Callable[[Any], Any], inputs: Iterable[Any]) -> Iterator[Any]:
        task = ray.remote(function)
        promised = [task.remote(value) for value in inputs]
        for start in range(0, len(promised), 1_000):
            yield from ray.get(promised[start : start + 1_000])

    ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR)
    yield answers
    ray.shutdown()


@contextlib.contextmanager
def dask_map(_: bool) -> Iterator[Map]:
    from distributed import Client, LocalCluster, as_completed

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        yield lambda function, inputs: (
            result
            for batch in as_completed(client.map(function, list(inputs), pure=False), with_results=True).batches()
            for _, result in batch
        )


SYSTEMS: dict[str, Callable[[bool], contextlib.AbstractContextManager[Map]]] = {
    "wasm_grid": grid_map,
    "Pool.imap_unordered": pool_map,
    "ProcessPoolExecutor.map": executor_map,
    "Ray": ray_map,
    "Dask": dask_map,
}


def memory() -> float:
    """What this process has in memory, in MiB."""
    return int(re.findall(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) / 1024


def one_noop(name: str, tasks: int) -> dict[str, Any]:
    with SYSTEMS[name](True) as system:
        assert sum(system(nothing, range(1_000))) == 499_500
        marks = {tasks // 10: 0.0, tasks // 2: 0.0, tasks: 0.0}
        began = time.perf_counter()
        # From a generator: the list itself takes no memory.
        for count, _ in enumerate(system(nothing, (number for number in range(tasks))), 1):
            if count in marks:
                marks[count] = memory()
        assert count == tasks
        return {"rate": tasks / (time.perf_counter() - began), "memory": list(marks.values())}


def one_primes(name: str, below: int) -> dict[str, Any]:
    from primes import primes_between

    ranges = [(low, min(low + 1_000, below)) for low in range(0, below, 1_000)]
    began = time.perf_counter()
    with SYSTEMS[name](False) as system:
        found = sum(system(primes_between, ranges))
        first = time.perf_counter() - began
        again = time.perf_counter()
        assert sum(system(primes_between, ranges)) == found
        return {"found": found, "first": first, "second": time.perf_counter() - again}


def apart(kind: str, name: str, number: int, **environment: str) -> dict[str, Any]:
    """Measures one system in a process of its own."""
    command = [sys.executable, __file__, f"one-{kind}", name, str(number)]
    said = subprocess.run(command, env={**os.environ, **environment}, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(said.stdout.splitlines()[-1])


def noop(tasks: int) -> None:
    print(f"{'no-op tasks':<32} {'tasks':>8} {'tasks/s':>9}   {'MiB at 10, 50, 100 %':<22} ratio", flush=True)
    row = "{:<32} {:>8} {:>9.0f}   {:<22} {:.3f}"
    base = 0.0
    for name in SYSTEMS:
        count = min(tasks, {"Ray": SLOW_TASKS_MAX, "Dask": DASK_TASKS_MAX}.get(name, tasks))
        measured = apart("noop", name, count)
        base = base or measured["rate"]
        used = ", ".join(f"{mark:.0f}" for mark in measured["memory"])
        print(row.format(name, count, measured["rate"], used, measured["rate"] / base), flush=True)
        if name == "wasm_grid":
            said = subprocess.run([PROGRAMS / "stress", "noop", str(tasks)], check=True, stdout=subprocess.PIPE, text=True)
            rate = float(said.stdout.split()[0])
            print(row.format("the client in Rust", tasks, rate, "", rate / base), flush=True)


def primes(below: int) -> None:
    print(f"{f'primes below {below}, in Python':<32} {'first, s':>9} {'second, s':>9}   ratio of the second", flush=True)
    row = "{:<32} {:>9.2f} {:>9.2f}   {:.3f}"
    base = 0.0
    found = set[int]()
    with tempfile.TemporaryDirectory() as home:
        for name in SYSTEMS:
            both = {"from nothing": {}, "built before": {}} if name == "wasm_grid" else {"": {}}
            for how in both:
                own = {"GRID_PEERS_HOME": home, "GRID_HOME": home} if how else {}
                measured = apart("primes", name, below, **own)
                base = base or measured["second"]
                found.add(measured["found"])
                label = f"{name}, {how}" if how else name
                print(row.format(label, measured["first"], measured["second"], measured["second"] / base), flush=True)
    assert len(found) == 1, found


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["one-noop", name, tasks]:
            print(json.dumps(one_noop(name, int(tasks))))
        case ["one-primes", name, below]:
            print(json.dumps(one_primes(name, int(below))))
        case ["noop", tasks]:
            noop(int(tasks))
        case ["primes", below]:
            primes(int(below))
        case _:
            sys.exit(__doc__)
