"""Futures of single tasks, executors, and what is let go of before it has ended."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import pty
import signal
import subprocess
import sys
import textwrap
import threading
import time
import unittest
from concurrent.futures import as_completed, wait
from typing import TYPE_CHECKING, Callable, Literal, cast

import wasm_grid
from grid_processes import ECHO, PRIMES, OneHostTest
from wasm_grid import GridError, TaskError
from wasm_grid._progress import Bar

if TYPE_CHECKING:
    from wasm_grid._wasm_grid import Outcomes

SLOW = (0, 400_000_000)


def until(happened: Callable[[], bool], seconds: float = 30) -> bool:
    """Asks again and again whether something has happened; false if it has not in time."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


class Futures(OneHostTest):
    def run_program(self, program: str) -> subprocess.CompletedProcess[str]:
        start = f"import os, sys, wasm_grid\nclient = wasm_grid.connect({self.grid.address!r}, home={str(self.grid.home)!r})\n"
        return subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", start + textwrap.dedent(program)],
            capture_output=True,
            text=True,
            timeout=120,
        )

    def test_futures_of_a_client_are_those_of_the_standard_library(self) -> None:
        futures = [self.client.submit(ECHO, number) for number in range(20)]
        self.assertEqual(sorted(future.result() for future in as_completed(futures, 60)), list(range(20)))
        failing = self.client.submit(PRIMES, "none", retries=0)
        self.assertIsInstance(failing.exception(60), TaskError)

        async def awaited() -> int:
            return await asyncio.wrap_future(self.client.submit(ECHO, 7))

        self.assertEqual(asyncio.run(awaited()), 7)
        with self.assertRaises(wasm_grid.ValueFormError):
            self.client.submit(ECHO, 1j)

    def test_many_kinds_of_tasks_leave_few_jobs_and_threads_open(self) -> None:
        before = threading.active_count()
        for number in range(40):
            self.assertEqual(self.client.submit(ECHO, number, name=f"kind-{number}").result(60), number)
        self.assertTrue(until(lambda: threading.active_count() <= before + 16))

    def test_a_client_that_is_closed_cancels_what_was_submitted(self) -> None:
        client = self.grid.connect()
        future = client.submit(PRIMES, SLOW)
        outcomes = client.map(PRIMES, [SLOW])
        id = outcomes.job.id
        client.close()
        self.assertTrue(future.cancelled())
        with self.assertRaises(wasm_grid.DeniedError):
            self.client.find_job(id).show()
        self.assertEqual(list(outcomes), [])

    def test_a_built_in_exception_of_a_function_is_caught_by_its_class(self) -> None:
        with wasm_grid.Executor(self.client, retries=0) as executor:
            error = executor.submit(divmod, 1, 0).exception(300)
            self.assertIsInstance(error, ZeroDivisionError)
            assert isinstance(error, TaskError)
            self.assertEqual((error.task, len(error.attempts)), (0, 1))
            with self.assertRaisesRegex(KeyError, "task 0 failed(.*\n)*.*KeyError"):
                executor.submit(dict[str, int].__getitem__, {}, "missing").result(60)
            with self.assertRaises(ValueError):
                executor.submit(bytes.decode, b"\xff").result(60)

    def test_an_executor_of_few_workers_cancels_what_waits_and_ends_what_runs(self) -> None:
        executor = wasm_grid.Executor(self.client, max_workers=1)
        first, second = executor.submit(ECHO, 1), executor.submit(ECHO, 2)
        self.assertTrue(second.cancel())
        self.assertFalse(first.cancel())
        executor.shutdown(cancel_futures=True)
        self.assertEqual(first.result(0), 1)
        self.assertEqual(wait([first, second], 0).not_done, set())

    def test_a_map_that_nobody_refers_to_is_stopped_and_forgotten(self) -> None:
        def is_gone(id: str) -> bool:
            try:
                self.client.find_job(id).show()
            except wasm_grid.DeniedError:
                return True
            return False

        dropped = self.client.map(PRIMES, [SLOW])
        with self.client.map(PRIMES, [SLOW]) as closed, self.client.map(PRIMES, [SLOW], keep=True) as kept:
            ids = [closed.job.id, kept.job.id, dropped.job.id]
        self.assertTrue(is_gone(ids[0]))
        self.assertEqual(list(closed), [])
        del dropped
        gc.collect()
        self.assertTrue(until(lambda: is_gone(ids[2])))
        self.assertFalse(is_gone(ids[1]))
        self.client.find_job(ids[1]).cancel()

    def test_a_program_waits_for_its_futures_before_it_ends(self) -> None:
        done = self.run_program(
            f"""
            executor = wasm_grid.Executor(client)
            executor.submit({str(ECHO)!r}, "late").add_done_callback(lambda future: print(future.result()))
            executor.shutdown(wait=False)
            """
        )
        self.assertEqual((done.stdout, done.stderr), ("late\n", ""))

    def test_a_forked_child_is_refused_with_a_sentence_and_ends(self) -> None:
        done = self.run_program(
            f"""
            executor = wasm_grid.Executor(client)
            first = executor.submit({str(ECHO)!r}, 1).result()
            outcomes = client.map({str(ECHO)!r}, range(3))
            job = outcomes.job
            child = os.fork()
            if child == 0:
                tries = [lambda: next(outcomes), lambda: outcomes.job, lambda: job.show(), lambda: client.submit({str(ECHO)!r}, 1),
                         lambda: executor.submit({str(ECHO)!r}, 1), lambda: client.find_job(job.id)]
                for attempt in tries:
                    try:
                        attempt()
                    except wasm_grid.GridError as error:
                        print(error)
                sys.stdout.flush()
                executor.shutdown()
                outcomes.close()
                client.close()
                sys.exit(0)
            _, status = os.waitpid(child, 0)
            print(status, first, sorted(outcomes.values()), executor.submit({str(ECHO)!r}, 2).result())
            """
        )
        lines = done.stdout.splitlines()
        self.assertEqual(done.stderr, "")
        self.assertEqual(lines[-1], "0 1 [0, 1, 2] 2")
        self.assertEqual([line.split(" belongs to the process that forked this one; ")[0] for line in lines[:-1]],
            ["this map", "this map", "this job", "this client", "this executor", "this client"])  # fmt: skip

    def test_a_job_is_shown_as_a_table_without_what_could_run(self) -> None:
        job = self.client.job(ECHO, name="<script>alert(1)</script>")
        shown = job._repr_html_()  # pyright: ignore[reportPrivateUsage]
        self.assertNotIn("<script", shown)
        for words in ("&lt;script&gt;", job.id, "open", "0 of 0"):
            self.assertIn(words, shown)
        job.cancel()
        job.forget()
        self.assertIn("not known", job._repr_html_())  # pyright: ignore[reportPrivateUsage]


class Cells(unittest.TestCase):
    def test_a_cell_that_is_run_again_and_again_leaks_neither_threads_nor_files(self) -> None:
        def cell() -> None:
            client = wasm_grid.connect("local", slots=1)
            self.assertEqual(sum(client.map(ECHO, range(5)).values()), 10)
            self.assertEqual(client.submit(ECHO, 1).result(60), 1)
            with wasm_grid.Executor(client) as executor:
                self.assertEqual(executor.submit(ECHO, 2).result(60), 2)

        def held() -> tuple[int, int]:
            return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

        cell()
        gc.collect()
        files, threads = held()
        for _ in range(20):
            cell()
            gc.collect()
        self.assertTrue(until(lambda: held()[0] <= files + 2 and held()[1] <= threads + 2), f"{(files, threads)}, {held()}")


class Progress(unittest.TestCase):
    """What is seen of a map on a terminal."""

    def seen(self, settings: str, inputs: str, *, interrupt: bool = False) -> str:
        """What a program with a map writes to a terminal that is its standard error."""
        program = f"""
            import signal, wasm_grid
            signal.signal(signal.SIGINT, signal.default_int_handler)
            with wasm_grid.connect("local", slots=1) as client:
                try:
                    print(len(list(client.map({str(PRIMES)!r}, {inputs}{settings}))))
                except KeyboardInterrupt:
                    print("interrupted")
            """
        ours, theirs = pty.openpty()
        running = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, stderr=theirs, text=True
        )
        os.close(theirs)
        too_late = threading.Timer(60, running.kill)
        too_late.start()
        self.addCleanup(too_late.cancel)
        written = b""
        try:
            while chunk := os.read(ours, 4096):
                written += chunk
                if interrupt and b"tasks" in written:
                    running.send_signal(signal.SIGINT)
                    interrupt = False
        except OSError:
            pass  # The other end is closed.
        os.close(ours)
        with running:
            assert running.stdout is not None
            self.printed = running.stdout.read()
        return written.decode()

    def test_a_slow_task_shows_a_line_that_is_gone_at_the_end(self) -> None:
        seen = self.seen(", progress=True", "[(0, 10), (0, 60_000)]")
        self.assertIn("of 2 tasks", seen)
        self.assertTrue(seen.endswith("\r\x1b[K"), repr(seen[-80:]))
        self.assertNotIn("\n", seen)
        self.assertEqual(self.printed, "2\n")

    def test_ctrl_c_leaves_no_line(self) -> None:
        seen = self.seen("", "[(0, 10), (0, 400_000_000)]", interrupt=True)
        self.assertIn("1 of 2 tasks", seen)
        self.assertTrue(seen.endswith("\r\x1b[K"), repr(seen[-80:]))
        self.assertEqual(self.printed, "interrupted\n")

    def test_ctrl_c_while_a_line_is_written_leaves_no_line(self) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

            def flush(self) -> None:
                if "tasks" in self.getvalue() and not self.getvalue().endswith("\x1b[K"):
                    raise KeyboardInterrupt

        class Slow:
            def take(self, seconds: float) -> Literal[False]:
                return False

            def progress(self) -> None:
                return None

        terminal = Terminal()
        with self.assertRaises(KeyboardInterrupt):
            Bar(terminal, 2, 0.0).take(cast("Outcomes", Slow()))
        self.assertIn("of 2 tasks", terminal.getvalue())
        self.assertTrue(terminal.getvalue().endswith("\r\x1b[K"), repr(terminal.getvalue()))

    def test_nothing_is_shown_unless_somebody_waits_for_long_or_wants_it(self) -> None:
        self.assertEqual(self.seen(", progress=False", "[(0, 60_000)]"), "")
        self.assertEqual(self.printed, "1\n")


class Closed(unittest.TestCase):
    def test_a_closed_client_takes_no_tasks(self) -> None:
        client = wasm_grid.connect("local", slots=1)
        client.close()
        with self.assertRaises((RuntimeError, GridError)):
            client.submit(ECHO, 1)


if __name__ == "__main__":
    unittest.main()
