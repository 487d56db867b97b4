"""Tasks on a manager and hosts that are real processes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import unittest
from collections.abc import Iterator
from concurrent.futures import as_completed
from typing import Any

import wasm_grid
from grid_processes import ECHO, PRIMES, Grid
from test_values import same, value_of
from wasm_grid import ConnectError, DeniedError, GridError, ModuleError, StoppedError, TaskError

BELOW_150_000 = 13_848


def ranges() -> Iterator[tuple[int, int]]:
    return ((low, low + 1_000) for low in range(0, 150_000, 1_000))


def count(outcome: wasm_grid.Outcome) -> int:
    return outcome.value["count"]


class OneGrid(unittest.TestCase):
    """Tests that leave the grid as it was."""

    grid: Grid
    client: wasm_grid.Client

    @classmethod
    def setUpClass(cls) -> None:
        cls.grid = Grid()
        cls.client = cls.grid.connect()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.client.close()
        cls.grid.__exit__(None, None, None)

    def test_a_list_of_tasks_is_done_by_both_hosts(self) -> None:
        hosts: set[str] = set()
        until = time.monotonic() + 60
        # The host that has compiled the module first may do all of a short list.
        while len(hosts) < 2 and time.monotonic() < until:
            outcomes = list(self.client.map(PRIMES, ranges()))
            self.assertEqual(sorted(outcome.task for outcome in outcomes), list(range(150)))
            self.assertEqual(sum(map(count, outcomes)), BELOW_150_000)
            hosts.update(outcome.host for outcome in outcomes)
        self.assertEqual(hosts, {"host0", "host1"})

    def test_outcomes_come_in_the_order_of_the_inputs_if_asked(self) -> None:
        outcomes = self.client.map(str(PRIMES), ranges(), in_order=True)
        self.assertEqual([outcome.task for outcome in outcomes], list(range(150)))

    def test_values_of_all_kinds_come_back_through_a_guest(self) -> None:
        dice = random.Random(3)
        values = [value_of(dice) for _ in range(1_000)]
        back = list(self.client.map(ECHO, values, in_order=True).values())
        self.assertTrue(same(back, values))

    def test_raw_bytes_go_as_they_are(self) -> None:
        outcomes = list(self.client.map(ECHO, [b"", b"one", bytearray(b"two")], raw=True, in_order=True))
        self.assertEqual([outcome.results for outcome in outcomes], [[b""], [b"one"], [b"two"]])

    def test_inputs_are_taken_as_outcomes_are(self) -> None:
        taken = 0

        def endless() -> Iterator[int]:
            nonlocal taken
            while True:
                taken += 1
                yield taken

        outcomes = self.client.map(ECHO, endless())
        first = [next(outcomes).value for _ in range(100)]
        self.assertTrue(all(isinstance(number, int) for number in first))
        self.assertLess(taken, 120_000)
        self.assertEqual(outcomes.job.cancel()["state"], "stopped")

    def test_a_task_that_fails_says_where_and_why_and_the_others_go_on(self) -> None:
        outcomes = {outcome.task: outcome for outcome in self.client.map(PRIMES, [(0, 10), "none", (10, 20)], retries=1)}
        self.assertEqual([outcomes[0].value["count"], outcomes[2].value["count"]], [4, 4])
        self.assertFalse(outcomes[1].ok)
        with self.assertRaisesRegex(TaskError, r"task 1 failed: it failed 2 times\n  on host\d: expected the CBOR pair") as raised:
            outcomes[1].value
        error = raised.exception
        self.assertEqual((error.task, len(error.attempts)), (1, 2))
        self.assertIn(error.attempts[0]["host"], ("host0", "host1"))
        self.assertIsInstance(outcomes[1].error, TaskError)

    def test_too_many_failures_end_the_job(self) -> None:
        outcomes = self.client.map(PRIMES, ["none"] * 100, retries=0, max_failures=3)
        with self.assertRaisesRegex(StoppedError, "given up: .* 3 were allowed"):
            self.assertTrue(all(not outcome.ok for outcome in outcomes))
        self.assertEqual(list(outcomes), [])
        info = outcomes.job.show()
        self.assertEqual(info["state"], "given-up")
        self.assertIn("3 were allowed", info["why"] or "")
        for nonsense in ("many", "101%", "%"):
            with self.assertRaises(ValueError):
                self.client.job(PRIMES, max_failures=nonsense)

    def test_a_job_may_be_part_of_a_trace(self) -> None:
        traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        outcomes = self.client.map(PRIMES, [(0, 10), (10, 20)], traceparent=traceparent)
        self.assertEqual([outcome.ok for outcome in outcomes], [True, True])
        with self.assertRaisesRegex(ValueError, "a traceparent reads 00-"):
            self.client.job(PRIMES, traceparent="00-1-2-3")

    def test_what_the_inputs_raise_comes_through(self) -> None:
        def broken() -> Iterator[Any]:
            yield 1
            raise ZeroDivisionError("on purpose")

        with self.assertRaisesRegex(ZeroDivisionError, "on purpose"):
            list(self.client.map(ECHO, broken()))
        with self.assertRaisesRegex(wasm_grid.ValueFormError, "complex"):
            list(self.client.map(ECHO, [1, 2j]))

    def test_a_job_is_found_by_its_id_and_its_outcomes_are_read_again(self) -> None:
        made = self.client.map(ECHO, range(50), keep=True)
        self.assertEqual(sum(made.values()), 1_225)
        with self.grid.connect() as other:
            job = other.find_job(made.job.id)
            self.assertEqual(job.wait()["done"], 50)
            self.assertEqual(sum(outcome.value for outcome in job.results()), 1_225)
            self.assertEqual(len(list(job.results(after=40))), 10)
            job.forget()
            with self.assertRaises(DeniedError) as raised:
                job.show()
            self.assertEqual(raised.exception.code, "NotFound")

    def test_modules_are_found_by_name_and_nonsense_is_refused(self) -> None:
        digest = self.client.module(PRIMES)
        self.assertEqual(self.client.module("primes"), digest)
        self.assertEqual(self.client.module(digest[:16]), digest)
        self.assertEqual(self.client.module(PRIMES.read_bytes()), digest)
        for nothing in ("sieve", digest[:5]):
            with self.assertRaisesRegex(GridError, f"no module '{nothing}'"):
                self.client.module(nothing)
        with self.assertRaises(ModuleError):
            self.client.module(b"no module")
        with self.assertRaises(FileNotFoundError):
            self.client.module("nowhere.wasm")

    def test_a_job_that_no_host_suits_says_so(self) -> None:
        outcomes = self.client.map(ECHO, [1], labels={"gpu": "yes"})
        said: list[str] = []

        def watch() -> None:
            until = time.monotonic() + 20
            while "lacks a label" not in " ".join(said) and time.monotonic() < until:
                said[:] = outcomes.job.explain()
            outcomes.job.cancel()

        watching = threading.Thread(target=watch)
        watching.start()
        with self.assertRaisesRegex(StoppedError, "the job was stopped"):
            next(outcomes)
        watching.join()
        self.assertIn("lacks a label", " ".join(said))

    def test_outcomes_are_awaited_and_a_wait_that_is_cancelled_loses_none(self) -> None:
        async def run() -> list[int]:
            outcomes = self.client.map(ECHO, range(200))
            seen: list[int] = []
            while len(seen) < 200:
                try:
                    outcome = await asyncio.wait_for(outcomes.__anext__(), 0.001)
                except asyncio.TimeoutError:
                    continue
                seen.append(outcome.value)
            async for outcome in outcomes:
                raise AssertionError(outcome)
            return seen

        self.assertEqual(sorted(asyncio.run(run())), list(range(200)))

    def test_threads_share_a_client_and_the_outcomes(self) -> None:
        outcomes = self.client.map(ECHO, range(2_000))
        seen: list[int] = []
        threads = [threading.Thread(target=lambda: seen.extend(outcomes.values())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(sorted(seen), list(range(2_000)))

    @unittest.skipUnless(hasattr(os, "fork"), "there is no fork here")
    def test_a_forked_child_is_told_what_to_do(self) -> None:
        program = f"""
            import os, sys, wasm_grid
            client = wasm_grid.connect({self.grid.address!r}, home={str(self.grid.home)!r})
            child = os.fork()
            if child == 0:
                try:
                    client.module("primes")
                except wasm_grid.GridError as error:
                    own = wasm_grid.connect({self.grid.address!r}, home={str(self.grid.home)!r})
                    done = [outcome.value for outcome in own.map({str(ECHO)!r}, [1])]
                    print(error, done, flush=True)
                os._exit(0)
            os.waitpid(child, 0)
            print([outcome.value for outcome in client.map({str(ECHO)!r}, [2])])
            """
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(program)],
            capture_output=True, text=True, timeout=60
        )
        self.assertEqual(done.stderr, "")
        self.assertIn("call wasm_grid.connect() here, too [1]\n[2]\n", done.stdout)

    def test_ctrl_c_ends_a_map_with_the_usual_exception(self) -> None:
        program = f"""
            import signal, wasm_grid
            # Who runs tests in the background may have it ignored.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            client = wasm_grid.connect({self.grid.address!r}, home={str(self.grid.home)!r})
            outcomes = client.map({str(PRIMES)!r}, [(0, 10)] + [(0, 400_000_000)] * 4)
            first = next(outcomes).value["count"]
            try:
                print(first, outcomes.job.id, flush=True)
                list(outcomes)
            except KeyboardInterrupt:
                print(outcomes.job.cancel()["state"], flush=True)
            """
        running = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
        )
        assert running.stdout is not None
        too_late = threading.Timer(60, running.kill)
        too_late.start()
        self.addCleanup(too_late.cancel)
        with running, running.stdout as printed:
            self.assertTrue(printed.readline().startswith("4 "))
            running.send_signal(signal.SIGINT)
            self.assertEqual(printed.readline(), "stopped\n")
            self.assertEqual(running.wait(20), 0)

    def test_another_program_goes_on_where_one_was_killed_and_has_every_outcome_once(self) -> None:
        program = f"""
            import sys, wasm_grid
            client = wasm_grid.connect({self.grid.address!r}, home={str(self.grid.home)!r})
            job = client.job({str(PRIMES)!r})
            print(job.id, flush=True)
            for outcome in job.map((low, low + 1_000) for low in range(0, 150_000, 1_000)):
                print("an outcome", flush=True)
                sys.stdin.read()  # It is killed while it waits here.
            """
        running = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert running.stdout is not None
        with running, running.stdout as printed:
            job = self.client.find_job(printed.readline().strip())
            self.assertEqual(printed.readline(), "an outcome\n")
            running.kill()
        submitted = job.show()["submitted"]
        self.assertGreater(submitted, 0)
        rest = ((low, low + 1_000) for low in range(submitted * 1_000, 150_000, 1_000))
        outcomes = list(job.map(rest, first=submitted))
        self.assertEqual(sorted(outcome.task for outcome in outcomes), list(range(150)))
        self.assertEqual(sum(map(count, outcomes)), BELOW_150_000)
        job.forget()

    def test_an_executor_runs_a_module_from_many_threads_and_ends_in_good_order(self) -> None:
        with wasm_grid.Executor(self.client, retries=0) as executor:
            futures = [executor.submit(PRIMES, limits) for limits in ranges()]
            self.assertIsInstance(executor.submit(PRIMES, "none").exception(60), TaskError)
            found = sum(future.result()["count"] for future in as_completed(futures, 60))
            self.assertEqual(found, BELOW_150_000)
            with self.assertRaises(TypeError):
                executor.submit(PRIMES, 1, 2)  # pyright: ignore[reportCallIssue, reportArgumentType]
            with self.assertRaises(wasm_grid.ValueFormError):
                executor.submit(PRIMES, 1j)
            late = executor.submit(ECHO, "late")
        self.assertEqual(late.result(0), "late")
        with self.assertRaisesRegex(RuntimeError, "after shutdown"):
            executor.submit(ECHO, 1)

    def test_an_executor_that_is_shut_down_at_once_cancels_what_waits(self) -> None:
        executor = wasm_grid.Executor(self.client)
        futures = [executor.submit(PRIMES, (0, 100_000_000)) for _ in range(10)]
        executor.shutdown(cancel_futures=True)
        self.assertTrue(all(future.cancelled() for future in futures))


class Mishaps(unittest.TestCase):
    def test_a_host_that_is_killed_loses_no_task(self) -> None:
        with Grid() as grid, grid.connect() as client:
            outcomes = client.map(PRIMES, ((low, low + 1_000) for low in range(0, 200_000, 1_000)))
            counts = [next(outcomes).value["count"] for _ in range(20)]
            grid.kill_host(0)
            counts.extend(outcome.value["count"] for outcome in outcomes)
            self.assertEqual((len(counts), sum(counts)), (200, 17_984))

    def test_a_manager_that_is_killed_and_comes_back_loses_no_task(self) -> None:
        with Grid() as grid, grid.connect() as client:
            outcomes = client.map(PRIMES, ((low, low + 1_000) for low in range(0, 200_000, 1_000)))
            counts = [next(outcomes).value["count"] for _ in range(20)]
            grid.restart_manager()
            counts.extend(outcome.value["count"] for outcome in outcomes)
            self.assertEqual((len(counts), sum(counts)), (200, 17_984))

    def test_more_maps_than_a_manager_keeps_jobs_leave_nothing_behind(self) -> None:
        with wasm_grid.connect("local", slots=1) as client:
            for number in range(1_100):
                self.assertEqual([outcome.value for outcome in client.map(ECHO, [number])], [number])

    def test_nobody_at_the_address_is_said_plainly(self) -> None:
        with self.assertRaisesRegex(ConnectError, "127.0.0.1:9"):
            wasm_grid.connect("127.0.0.1:9")
        with self.assertRaises(ConnectError):
            wasm_grid.connect("no address at all")

    def test_a_grid_of_its_own_needs_nothing_and_ends_with_the_client(self) -> None:
        before = threading.active_count()
        client = wasm_grid.connect("local", slots=2)
        with client:
            self.assertEqual(sum(client.map(ECHO, range(10)).values()), 45)
        with self.assertRaisesRegex(GridError, "closed"):
            client.module("primes")
        client.close()
        self.assertEqual(threading.active_count(), before)


if __name__ == "__main__":
    unittest.main()
