"""No-op tasks a second of Ray, Dask and a pool of processes, two workers each, every task by itself."""

import logging
import multiprocessing
import time


def nothing(number):
    return number


def report(name, count, work):
    began = time.perf_counter()
    work()
    print(f"{name}: {count / (time.perf_counter() - began):.0f} no-op tasks a second", flush=True)


def pool(count=200_000):
    with multiprocessing.Pool(2) as workers:
        workers.map(nothing, range(1000), chunksize=1)
        report("Pool(chunksize=1)", count, lambda: list(workers.imap_unordered(nothing, range(count), chunksize=1)))


def ray_tasks(count=20_000):
    import ray

    ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR)
    task = ray.remote(nothing)
    ray.get([task.remote(number) for number in range(200)])
    report("Ray", count, lambda: ray.get([task.remote(number) for number in range(count)]))
    ray.shutdown()


def dask_tasks(count=5_000):
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        client.gather(client.map(nothing, range(200), pure=False))
        report("Dask", count, lambda: client.gather(client.map(nothing, range(count), pure=False)))


if __name__ == "__main__":
    pool()
    ray_tasks()
    dask_tasks()
