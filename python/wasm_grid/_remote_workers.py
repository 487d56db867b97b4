"""Remote workers of the face of distributed-worker: how a program on another machine brings one to a manager's program.

The manager's program listens where `get_client_args` says. The other program proves that it has the authkey, starts
`grid-host` on its machine, and names the host and the module; the manager's program lets the host in and starts the worker
there.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import logging
import socket
import subprocess
import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

from . import _wasm_grid  # pyright: ignore[reportPrivateUsage]
from ._client import Client
from ._programs import program
from ._secret_channel import ChannelError, SecretChannel
from ._wasm_grid import GridError

#: Seconds that a program has to prove that it has the authkey: strangers hold a place no longer.
GREETING_SECONDS = 5.0

#: Seconds that a step of an introduction may take; the first module of a machine is sent within one.
STEP_SECONDS = 60.0

#: Seconds until a host that has started must have joined.
JOIN_SECONDS = 60.0

#: Bytes of a module that a program brings.
MODULE_BYTES_MAX = 256 << 20

#: Programs that are served at a time.
PROGRAMS_MAX = 256

#: Workers that one machine may have.
SLOTS = 64

#: What the hosts of such programs carry as a label.
LABEL = ("distributed-worker", "remote")

_log = logging.getLogger("wasm_grid")


class Newcomer:
    """A host that has joined and is to get a worker, and the program that waits for it."""

    def __init__(self, channel: SecretChannel, host: str, module: str, arguments: bytes) -> None:
        self._channel = channel
        self.host = host
        self.module = module
        self.arguments = arguments

    def refuse(self, why: str) -> None:
        """Tells the program why there is no worker."""
        self._tell({"error": why})
        self._channel.close()

    def stop(self) -> None:
        """Tells the program that its worker has been stopped."""
        self._tell({"stop": True})
        self._channel.close()

    def _tell(self, what: dict[str, Any]) -> None:
        try:
            self._channel.send(what)
        except ChannelError:
            pass  # Its worker goes with its host.


class Introductions:
    """Takes in programs that have the authkey, and their hosts."""

    def __init__(self, client: Client, listener: socket.socket, authkey: bytes) -> None:
        self._client = client
        self._listener = listener
        self._authkey = authkey
        self._newcomers: SimpleQueue[Newcomer] = SimpleQueue()
        self._room = threading.BoundedSemaphore(PROGRAMS_MAX)
        self._channels: set[SecretChannel] = set()
        #: The digests of modules that programs brought, by what they call them.
        self._uploaded: dict[str, str] = {}
        threading.Thread(target=self._accept, name="wasm-grid-introductions", daemon=True).start()

    def next(self) -> Newcomer | None:
        """The next host that has joined, if there is one."""
        try:
            return self._newcomers.get_nowait()
        except Empty:
            return None

    def close(self) -> None:
        """Take in no more; the programs that wait learn it."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # Not every system knows this of a socket that listens.
        self._listener.close()
        for channel in list(self._channels):
            channel.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, address = self._listener.accept()
            except OSError:
                return
            if not self._room.acquire(blocking=False):
                connection.close()
                continue
            arguments = (connection, address[0])
            threading.Thread(target=self._serve, args=arguments, name="wasm-grid-program", daemon=True).start()

    def _serve(self, connection: socket.socket, address: str) -> None:
        channel = SecretChannel(connection, self._authkey, is_manager=True, timeout=GREETING_SECONDS)
        self._channels.add(channel)
        try:
            channel.greet()
            self._introduce(channel)
        except GridError as error:
            _log.warning("a program at %s brings no worker: %s", address, error)
        finally:
            self._channels.discard(channel)
            channel.close()
            self._room.release()

    def _introduce(self, channel: SecretChannel) -> None:
        channel.receive()
        channel.limit(STEP_SECONDS)
        channel.send({"manager": self._client.address})
        asked = _Asked(channel.receive())
        try:
            module = self._uploaded.get(asked.module)
            if module is None:
                channel.send({"send": True})
                brought = channel.receive(MODULE_BYTES_MAX)
                if not isinstance(brought, bytes) or hashlib.sha256(brought).hexdigest() != asked.module:
                    raise ChannelError("the module is not the one that was announced")
                module = self._uploaded[asked.module] = self._client.module(brought)
            host = self._let_in(asked.fingerprint)
        except GridError as error:
            channel.send({"error": str(error)})
            raise
        channel.send({"joined": True})
        self._newcomers.put(Newcomer(channel, host, module, asked.arguments))
        channel.limit(None)
        try:
            channel.receive()
        except ChannelError:
            pass  # It has ended, by itself or because the manager's program said so.
        try:
            self._client.drain_host(host)
        except GridError:
            pass  # The host is gone, or the manager is.

    def _let_in(self, fingerprint: str) -> str:
        """Waits for a host, lets it in, and waits until it has joined; its key."""
        until = time.monotonic() + JOIN_SECONDS
        while time.monotonic() < until:
            for host in self._client.hosts():
                if host["fingerprint"] != fingerprint:
                    continue
                if host["state"] == "pending":
                    self._client.approve_host(host["key"])
                elif host["state"] == "ready":
                    return host["key"]
            time.sleep(0.05)  # The manager announces no hosts.
        raise GridError(f"the host {fingerprint} did not join within {JOIN_SECONDS:.0f} s")


class _Asked:
    """What a program asks for, as it says."""

    def __init__(self, said: Any) -> None:
        try:
            self.fingerprint = str(said["host"])
            self.module = str(said["module"])
            self.arguments: bytes = said["arguments"]
        except (KeyError, TypeError) as error:
            raise ChannelError("the other program speaks another version of this package") from error
        if not isinstance(self.arguments, bytes):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ChannelError("what a worker is made of must be bytes")


class RemoteWorker:
    """A worker on this machine, for the program that called for it: what a process is, as far as that goes."""

    def __init__(self, channel: SecretChannel, host: _HostProcess) -> None:
        self._channel = channel
        self._host = host
        self._thread = threading.Thread(target=self._wait, name="wasm-grid-remote-worker")
        host.workers.add(self)
        self._thread.start()

    @property
    def pid(self) -> int:
        """The process that it runs in: `grid-host`, with the other workers of this program."""
        return self._host.process.pid

    def is_alive(self) -> bool:
        """Whether the manager still has it."""
        return self._thread.is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Wait until the manager has stopped it, or is gone."""
        self._thread.join(timeout)

    def terminate(self) -> None:
        """Take it away from the manager."""
        self._channel.close()

    kill = terminate

    def _wait(self) -> None:
        try:
            said = self._channel.receive()
            if "error" in said:
                _log.warning("the manager starts no worker here: %s", said["error"])
        except ChannelError:
            pass  # The manager's program has ended, or `terminate` was called.
        self._channel.close()
        self._host.workers.discard(self)
        self._host.release()


class _HostProcess:
    """`grid-host` on this machine, for one manager, while this program has workers there."""

    _running: dict[str, _HostProcess] = {}
    _lock = threading.Lock()

    def __init__(self, manager: str) -> None:
        self.manager = manager
        self.workers: set[RemoteWorker] = set()
        self._users = 0
        folder, self._folder_lock = _free_folder()
        label, compiled = "=".join(LABEL), str(Path(_wasm_grid.home()) / "compiled")
        where = ["--state", folder, "--compiled", compiled]
        self.process = subprocess.Popen(
            [program("grid-host"), "--manager", manager, "--slots", str(SLOTS), "--label", label, *where],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        atexit.register(self.process.kill)
        self.fingerprint = self._said()

    @classmethod
    def of(cls, manager: str) -> _HostProcess:
        """The one that runs, or a new one."""
        with cls._lock:
            host = cls._running.get(manager)
            if host is None or host.process.poll() is not None:
                host = cls._running[manager] = cls(manager)
            host._users += 1
            return host

    def release(self) -> None:
        """One worker fewer: after the last one the process ends."""
        with self._lock:
            self._users -= 1
            if self._users > 0:
                return
            self._running.pop(self.manager, None)
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._folder_lock.close()

    def _said(self) -> str:
        """The fingerprint of the host, which its first line tells; what follows is read so that it never waits."""
        assert self.process.stderr is not None
        lines: list[str] = []
        for line in self.process.stderr:
            lines.append(line.strip())
            words = line.split()
            if "offers" in words:
                threading.Thread(target=self._skip, name="wasm-grid-host-log", daemon=True).start()
                return words[words.index("offers") - 1]
        raise GridError("no host starts on this machine: " + " ".join(lines[-5:]))

    def _skip(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            _log.debug("grid-host: %s", line.strip())
        # It has ended, and its workers with it.
        for worker in list(self.workers):
            worker.terminate()


def _free_folder() -> tuple[str, IO[str]]:
    """A folder for a host's key and state that no other program uses, and the lock that keeps it so."""
    home = Path(_wasm_grid.home()) / "remote-workers"
    for number in range(PROGRAMS_MAX):
        folder = home / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "program.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        return str(folder / "state"), lock
    raise GridError(f"{PROGRAMS_MAX} programs on this machine have remote workers already")


def _reached_at(manager: str, host: str) -> str:
    """A manager's address as this machine sees it: one that listens everywhere is where its program is."""
    key, _, address = manager.rpartition("@")
    listens, _, port = address.rpartition(":")
    return f"{key}@{host}:{port}" if listens in ("0.0.0.0", "[::]") else manager


def bring(
    address: tuple[str, int], authkey: bytes, module: bytes, arguments: bytes
) -> RemoteWorker:
    """Brings a worker to the manager's program at `address`.

    Raises:
        GridError: It is not there, has another authkey, or cannot start the worker, and why.
    """
    try:
        connection = socket.create_connection(address, timeout=STEP_SECONDS)
    except OSError as error:
        raise GridError(f"no manager listens at {address[0]}:{address[1]}: {error}") from error
    channel = SecretChannel(connection, authkey, is_manager=False, timeout=JOIN_SECONDS + STEP_SECONDS)
    host: _HostProcess | None = None
    try:
        channel.greet()
        channel.send({"version": 1})
        host = _HostProcess.of(_reached_at(channel.receive()["manager"], address[0]))
        name = hashlib.sha256(module).hexdigest()
        channel.send({"host": host.fingerprint, "module": name, "arguments": arguments})
        answer = channel.receive()
        if "send" in answer:
            channel.send(module)
            answer = channel.receive()
        if "error" in answer:
            raise GridError(f"the manager takes no worker from here: {answer['error']}")
        channel.limit(None)
        return RemoteWorker(channel, host)
    except BaseException:
        channel.close()
        if host is not None:
            host.release()
        raise
