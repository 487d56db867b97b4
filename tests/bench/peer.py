"""One figure of one of the systems that the grid is compared with, on two processors.

    peer.py noop SYSTEM TASKS         no-op tasks a second, each by itself
    peer.py primes SYSTEM BELOW       numbers a second that are searched for primes by trial division, a thousand a task
    peer.py actor ray CALLS           calls a second of one actor, 256 in flight
    peer.py rounds distributed-worker ROUNDS    microseconds of a message there and back

SYSTEM is ray, dask, pool or hyperqueue. The system is up, and has done some tasks, before time is taken.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

#: Maps a function over inputs, in any order.
Map = Callable[[Callable[[int], int], Iterable[int]], Iterable[int]]


def nothing(number: int) -> int:
    return number


def primes(low: int) -> int:
    """The primes in the thousand numbers from `low` on, as the kernel of the grid counts them."""
    return sum(1 for number in range(max(low, 2), low + 1000) if all(number % divisor for divisor in range(2, number)))


@contextlib.contextmanager
def pool() -> Iterator[Map]:
    import multiprocessing

    with multiprocessing.Pool(2) as processes:
        yield lambda function, inputs: processes.imap_unordered(function, inputs, chunksize=1)


@contextlib.contextmanager
def ray() -> Iterator[Map]:
    import ray

    def answers(function: Callable[[int], int], inputs: Iterable[int]) -> Iterator[int]:
        task = ray.remote(function)
        promised = [task.remote(value) for value in inputs]
        for start in range(0, len(promised), 1000):
            yield from ray.get(promised[start : start + 1000])

    ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR)
    yield answers
    ray.shutdown()


@contextlib.contextmanager
def dask() -> Iterator[Map]:
    from distributed import Client, LocalCluster, as_completed

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        yield lambda function, inputs: (
            result
            for batch in as_completed(client.map(function, list(inputs), pure=False), with_results=True).batches()
            for _, result in batch
        )


SYSTEMS: dict[str, Callable[[], contextlib.AbstractContextManager[Map]]] = {"pool": pool, "ray": ray, "dask": dask}


def noop(system: str, tasks: int) -> float:
    if system == "hyperqueue":
        return hyperqueue_noop(tasks)
    with SYSTEMS[system]() as run:
        assert sum(run(nothing, range(200))) == 19_900
        began = time.perf_counter()
        assert sum(run(nothing, range(tasks))) == tasks * (tasks - 1) // 2
        return tasks / (time.perf_counter() - began)


def hyperqueue_noop(tasks: int) -> float:
    """HyperQueue's tasks are processes: each runs `true`, and leaves two files in the folder that it was submitted in."""
    from hyperqueue import Job
    from hyperqueue.cluster import LocalCluster, WorkerConfig

    def run(count: int) -> None:
        job = Job()
        for _ in range(count):
            job.program(["true"])
        client.wait_for_jobs([client.submit(job)])

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), LocalCluster() as cluster:
        cluster.start_worker(WorkerConfig(cores=2))
        client = cluster.client()
        run(10)
        began = time.perf_counter()
        run(tasks)
        return tasks / (time.perf_counter() - began)


def searched(system: str, below: int) -> float:
    with SYSTEMS[system]() as run:
        assert sum(run(primes, range(0, 2000, 1000))) == 303
        began = time.perf_counter()
        assert sum(run(primes, range(0, below, 1000))) > 0
        return below / (time.perf_counter() - began)


def actor(calls: int) -> float:
    import ray

    class Echo:
        def echo(self, message: bytes) -> bytes:
            return message

    ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR)
    echo, message = ray.remote(Echo).remote(), bytes(64)
    ray.get([echo.echo.remote(message) for _ in range(256)])
    began = time.perf_counter()
    flying = [echo.echo.remote(message) for _ in range(256)]
    for _ in range(calls - 256):
        done, flying = ray.wait(flying)
        ray.get(done)
        flying.append(echo.echo.remote(message))
    ray.get(flying)
    return calls / (time.perf_counter() - began)


def ancestor_rounds(rounds: int) -> float:
    from distributed_worker import DistributedManager, DistributedWorker

    class Echo(DistributedWorker):
        def handle_msg(self, msg: Any) -> None:
            self.send(msg)

    class Manager(DistributedManager):
        answered = 0

        def handle_msg(self, worker: int, msg: Any) -> None:
            self.answered += 1

    manager = Manager()
    manager.create_local_worker(Echo)
    while not manager.get_active_workers():
        manager.run_once()
    began = time.perf_counter()
    for number in range(rounds):
        manager.send(0, bytes(64))
        while manager.answered <= number:
            manager.run_once()
    took = time.perf_counter() - began
    with contextlib.redirect_stdout(sys.stderr):
        manager.stop()
    return took / rounds * 1e6


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["noop", system, tasks]:
            print(noop(system, int(tasks)))
        case ["primes", system, below]:
            print(searched(system, int(below)))
        case ["actor", "ray", calls]:
            print(actor(int(calls)))
        case ["rounds", "distributed-worker", rounds]:
            print(ancestor_rounds(int(rounds)))
        case _:
            sys.exit(__doc__)
