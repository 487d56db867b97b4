"""A manager and hosts as processes of their own, on loopback, for tests."""

from __future__ import annotations

import faulthandler
import os
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path
from types import TracebackType
from typing import Optional

import wasm_grid

# Nothing here takes so long; what hangs says where.
faulthandler.dump_traceback_later(20 * 60, exit=True)

PROGRAMS = Path(os.environ["GRID_PROGRAMS"])
MODULES = Path(os.environ["GRID_MODULES"])
PRIMES = MODULES / "primes.wasm"
ECHO = MODULES / "echo.wasm"


def functions_at_hand() -> Path:
    """Makes the command and what builds Python workers be found; the folder with what was built before."""
    os.environ["PATH"] = os.pathsep.join([str(PROGRAMS), os.environ["GRID_BUILDERS"], os.environ["PATH"]])
    os.environ["GRID_HOME"] = os.environ["GRID_TEST_HOME"]
    return Path(os.environ["GRID_TEST_HOME"])


class Grid:
    """A manager, and hosts on which there is no Python and nothing else: their PATH is empty."""

    def __init__(self, hosts: int = 2, home: Optional[Path] = None, slots: int = 2) -> None:
        """Starts them, each host with so many slots. A `home` keeps what the hosts have compiled for the next time."""
        self._folder = tempfile.TemporaryDirectory()
        self.home = home or Path(self._folder.name)
        self.home.mkdir(parents=True, exist_ok=True)
        self.hosts: list[subprocess.Popen[str]] = []
        self._slots = str(slots)
        self._started: list[subprocess.Popen[str]] = []
        try:
            self._manager = self._start_manager("127.0.0.1:0")
            self._listen = self.address.split("@")[1]
            for number in range(hosts):
                self.hosts.append(self._start_host(number))
        except BaseException:
            self.__exit__(None, None, None)
            raise

    @property
    def address(self) -> str:
        """`KEY@HOST:PORT`."""
        return (self.home / "running-manager").read_text().strip()

    def connect(self) -> wasm_grid.Client:
        return wasm_grid.connect(self.address, home=self.home)

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        # What one host has compiled, all others of all tests load.
        compiled = str(Path(os.environ.get("GRID_TEST_HOME", self.home)) / "compiled")
        started = subprocess.Popen(
            [PROGRAMS / program, *arguments],
            env={"GRID_HOME": str(self.home), "GRID_COMPILED": compiled, "PATH": ""},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program == "grid" else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if program == "grid" else subprocess.PIPE,
            text=True,
        )
        self._started.append(started)
        return started

    def _start_manager(self, listen: str) -> subprocess.Popen[str]:
        manager = self._start("grid", "up", "--listen", listen)
        assert manager.stdout is not None
        assert manager.stdout.readline(), "the manager did not start"
        return manager

    def _start_host(self, number: int) -> subprocess.Popen[str]:
        state = str(self.home / f"host-{number}")
        arguments = ["--name", f"host{number}", "--slots", self._slots, "--state", state]
        host = self._start("grid-host", "--manager", self.address, *arguments)
        assert host.stderr is not None
        for line in host.stderr:
            if "joined" in line:
                return host
        raise AssertionError("the host did not join")

    def kill_host(self, number: int) -> None:
        self.hosts[number].kill()
        self.hosts[number].wait()

    def restart_manager(self) -> None:
        """The manager dies without a word, and comes back at its address."""
        self._manager.kill()
        self._manager.communicate()
        self._manager = self._start_manager(self._listen)

    def __enter__(self) -> Grid:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        for process in self._started:
            process.send_signal(signal.SIGKILL)
        for process in self._started:
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        self._folder.cleanup()


class OneHostTest(unittest.TestCase):
    """Tests that share a manager, a host and a client, with functions at hand."""

    grid: Grid
    client: wasm_grid.Client

    @classmethod
    def setUpClass(cls) -> None:
        cls.grid = Grid(hosts=1, home=functions_at_hand() / "python")
        cls.client = cls.grid.connect()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.client.close()
        cls.grid.__exit__(None, None, None)
