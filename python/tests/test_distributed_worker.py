"""Programs that were written for the package distributed-worker, with their line of import changed."""

from __future__ import annotations

import ast
import difflib
import os
import re
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any, Callable

from example_functions import Broken, Slow
from grid_processes import functions_at_hand
from wasm_grid import GridError
from wasm_grid.distributed_worker import DistributedManager, create_remote_worker

#: Every number below is looked at. The text says 150 000, which takes minutes where hosts are built without optimisation.
NUMBERS = int(os.environ.get("GRID_PRIMES_BELOW", "20000"))

#: Seconds that a program may take; most of it is compiling Python.
PROGRAM_SECONDS = 900

REMOTE = """
import ast, sys
from primes import PrimeWorker
from wasm_grid.distributed_worker import create_remote_worker

create_remote_worker(PrimeWorker, ast.literal_eval(sys.argv[1]))
print("brought", flush=True)
"""


def ancestor_text() -> str:
    """The README of distributed-worker, from its source package."""
    with tarfile.open(os.environ["GRID_ANCESTOR"]) as package:
        [readme] = [member for member in package.getmembers() if member.name.endswith("/README.md")]
        file = package.extractfile(readme)
        assert file is not None
        return file.read().decode()


def with_imports_changed(text: str) -> str:
    changed = text.replace("from distributed_worker import", "from wasm_grid.distributed_worker import")
    lines = difflib.unified_diff(text.splitlines(), changed.splitlines(), "as it was", "with Grid", n=0, lineterm="")
    print("\n".join(line for line in lines if not line.startswith("@@")))
    return changed


def prime_program(local_workers: int) -> str:
    """The program of the README: its prime test, its worker and its manager, in one file."""
    blocks = re.findall(r"```py\n(.*?)```", ancestor_text(), re.DOTALL)
    is_prime, manager, worker, _, local = blocks
    text = with_imports_changed(f"{is_prime}\n{worker}\n{manager}")
    [creation] = [line for line in local.splitlines() if "create_local_worker" in line]
    text = text.replace("    manager = PrimeManager()\n", "    manager = PrimeManager()\n" + f"    {creation}\n" * local_workers)
    text = text.replace("range(150000)", f"range({NUMBERS})")
    # The text forgets this line, with the ancestor too.
    return "from typing import Any\n" + text


class Program:
    """The README's program, as a process."""

    def __init__(self, folder: Path, local_workers: int) -> None:
        Path(folder, "primes.py").write_text(prime_program(local_workers))
        Path(folder, "remote.py").write_text(REMOTE)
        self._folder = folder
        self.process = self._start("primes.py")
        self.lines: list[str] = []

    def _start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-u", *command],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def remote(self, client_args: str) -> subprocess.Popen[str]:
        """A program on another machine, which has brought its worker."""
        remote = self._start("remote.py", client_args)
        assert remote.stdout is not None
        assert remote.stdout.readline() == "brought\n"
        return remote

    def line(self, words: str) -> str:
        """Reads until a line with these words."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if words in line:
                return line
        raise AssertionError(f"no {words!r} in {self.lines[-20:]}")

    def results(self) -> dict[int, bool]:
        """What the program prints at its end."""
        line = self.line("{")
        assert self.process.stdout is not None
        self.process.stdout.close()
        assert self.process.wait(PROGRAM_SECONDS) == 0
        return ast.literal_eval(line)


class TextOfTheAncestor(unittest.TestCase):
    def setUp(self) -> None:
        functions_at_hand()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def start(self, local_workers: int) -> Program:
        program = Program(self.folder, local_workers)
        self.addCleanup(end, program.process)
        return program

    def assert_primes(self, results: dict[int, bool]) -> None:
        # To the text's own test 0 and 1 are primes.
        expected = {number: all(number % other for other in range(2, int(number**0.5) + 1)) for number in range(NUMBERS)}
        self.assertEqual(results, expected)

    def test_local_workers_count_the_primes(self) -> None:
        program = self.start(2)
        self.assert_primes(program.results())
        self.assertEqual(used(program), {0, 1})

    def test_remote_workers_count_the_primes(self) -> None:
        program = self.start(0)
        client_args = program.line("client creds:").partition(":")[2].strip()
        remotes = [program.remote(client_args) for _ in range(2)]
        for remote in remotes:
            self.addCleanup(end, remote)
        self.assert_primes(program.results())
        self.assertEqual([remote.wait(60) for remote in remotes], [0, 0])

    def test_one_of_two_remote_workers_is_killed_half_way_and_every_number_is_there(self) -> None:
        program = self.start(0)
        client_args = program.line("client creds:").partition(":")[2].strip()
        remotes = [program.remote(client_args) for _ in range(2)]
        for remote in remotes:
            self.addCleanup(end, remote)
        # They are numbered in the order in which they were brought; the one that has just got work dies.
        end(remotes[int(program.line(f"Send task {NUMBERS // 2}-").split()[-1])])
        self.assert_primes(program.results())
        self.assertEqual([line for line in program.lines if "disconnected" in line], [])


def used(program: Program) -> set[int]:
    """The workers that got tasks."""
    return {int(line.split()[-1]) for line in program.lines if line.startswith("Send task")}


def end(process: subprocess.Popen[str]) -> None:
    """Kills a program with all that it has started."""
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def until_sent_away(connection: socket.socket) -> None:
    """Reads until the other side closes, which it may do with what was sent to it unread."""
    connection.settimeout(60)
    try:
        while connection.recv(1_000):
            pass
    except ConnectionError:
        pass


class Manager(unittest.TestCase):
    def setUp(self) -> None:
        functions_at_hand()
        self.manager = DistributedManager()
        self.addCleanup(self.manager.stop)

    def run_until(self, is_over: Callable[[], Any]) -> None:
        until = time.monotonic() + PROGRAM_SECONDS
        while not is_over() and time.monotonic() < until:
            self.manager.run_once()

    def test_a_program_that_collects_by_itself_sends_spreads_and_broadcasts(self) -> None:
        handled: list[tuple[int, Any]] = []
        self.manager.handle_msg = lambda worker, msg: handled.append((worker, msg))
        for name in ("a", "b"):
            self.manager.create_local_worker(Slow, name, factor=10)
        self.assertEqual(self.manager.get_unconfirmed_workers(), [0, 1])
        self.assertEqual(self.manager.broadcast(1), [True, True])
        self.assertEqual(self.manager.spread({0: [2], 1: [3, 4]}), {0: True, 1: True})
        self.run_until(lambda: len(handled) == 5)
        expected = [(0, ["a", 10]), (0, ["a", 20]), (1, ["b", 10]), (1, ["b", 30]), (1, ["b", 40])]
        self.assertEqual(sorted(handled), expected)
        self.assertEqual((self.manager.get_active_workers(), self.manager.get_dead_workers()), ([0, 1], []))
        with self.assertRaisesRegex(ValueError, "there is no worker 2"):
            self.manager.spread({2: [1]})

    def test_a_worker_that_fails_by_itself_disconnects(self) -> None:
        gone: list[int] = []
        self.manager.on_worker_disconnect = lambda worker: gone.append(worker)
        self.manager.create_local_worker(Broken)
        self.manager.send(0, "more")
        with self.assertLogs("wasm_grid", "WARNING") as logged:
            self.run_until(lambda: gone)
        self.assertEqual((gone, self.manager.get_dead_workers(), self.manager.send(0, 1)), ([0], [0], False))
        self.assertIn("no more, please", logged.output[0])

    def test_a_program_with_another_authkey_brings_nothing(self) -> None:
        address, family, _ = self.manager.get_client_args()
        with self.assertLogs("wasm_grid", "WARNING") as logged:
            with self.assertRaisesRegex(GridError, "closed the connection"):
                create_remote_worker(Slow, (address, family, b"another"), "a")
        self.assertIn("has another authkey", logged.output[0])
        self.assertFalse(self.manager.try_accept())

    def test_a_stranger_that_says_nothing_or_garbage_holds_nobody_up(self) -> None:
        address = self.manager.get_client_args()[0]
        with socket.create_connection(address) as silent, socket.create_connection(address) as loud:
            self.assertEqual(len(silent.recv(32)), 32)
            with self.assertLogs("wasm_grid", "WARNING") as logged:
                loud.sendall(b"\xff" * 1_000)
                worker = create_remote_worker(Slow, self.manager.get_client_args(), "far", factor=2)
                until_sent_away(loud)  # Which comes after the line in the log.
            self.assertIn("over the limit", logged.output[0])
        handled: list[tuple[int, Any]] = []
        self.manager.handle_msg = lambda worker, msg: handled.append((worker, msg))
        self.manager.on_new_worker = lambda worker: self.assertTrue(self.manager.send(worker, 21))
        self.run_until(lambda: handled)
        self.assertEqual(handled, [(0, ["far", 42])])
        self.assertTrue(worker.is_alive())
        self.manager.stop()
        worker.join(60)
        self.assertFalse(worker.is_alive())

    def test_a_stranger_that_sends_a_byte_now_and_then_is_sent_away_in_five_seconds(self) -> None:
        with socket.create_connection(self.manager.get_client_args()[0]) as slow:
            self.assertEqual(len(slow.recv(32)), 32)
            slow.settimeout(0.2)
            began, answer = time.monotonic(), None
            with self.assertLogs("wasm_grid", "WARNING") as logged:
                while answer is None and time.monotonic() - began < 60:
                    try:
                        slow.sendall(b"\0")
                        answer = slow.recv(1)
                    except socket.timeout:
                        pass
                    except ConnectionError:  # It was sent away while it wrote.
                        answer = b""
        self.assertEqual(answer, b"")
        self.assertIn("in time", logged.output[0])

    def test_an_address_that_strangers_reach_needs_an_authkey_of_its_own(self) -> None:
        with self.assertRaisesRegex(ValueError, "choose another one"):
            DistributedManager("0.0.0.0")


if __name__ == "__main__":
    unittest.main()
