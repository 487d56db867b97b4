"""The face of the package distributed-worker, over the grid: the same program, with this line of import changed.

    from wasm_grid.distributed_worker import DistributedManager, DistributedWorker

A worker's class is built into a WebAssembly component once, and runs in a sandbox. What is different, and better: a worker
whose machine dies goes on elsewhere under its number, and gets the messages again that it had not answered; only a worker
that fails by itself disconnects. Values go as CBOR (a tuple comes back as a list), and nothing is pickled.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Callable

from . import _functions  # pyright: ignore[reportPrivateUsage]
from ._client import Client, connect
from ._remote_workers import LABEL, SLOTS, Introductions, Newcomer, RemoteWorker, bring
from ._wasm_grid import DeniedError, GridError, WorkerGoneError, dumps
from ._workers import Event, Joined, Left, Message, WorkerHandle

__all__ = [
    "DistributedManager",
    "DistributedWorker",
    "create_remote_worker",
    "create_remote_worker_sync",
]

default_address = "localhost"
default_port = 6000
default_authkey = b"secret password"

#: What `get_client_args` gives, and `create_remote_worker` takes.
ClientArgs = tuple[tuple[str, int], str, bytes]

#: Seconds that workers have to finish their message when the manager stops.
STOP_SECONDS = 10.0

#: Seconds between two tries to start a worker again for which there was no room.
RETRY_SECONDS = 1.0

_log = logging.getLogger("wasm_grid")


class DistributedWorker:
    """A worker: a class at the top level of a file, whose objects live on hosts."""

    def __init__(self, pipe: Any, *args: Any, **kwargs: Any) -> None:
        """Takes what it sends through, and what it was created with."""
        self.pipe = pipe
        self.poll_delay = 0.1

    def send(self, msg: Any) -> None:
        """Send a value to the manager."""
        self.pipe.send(msg)

    def loop(self) -> Any:
        """Do a slice of work: called again and again while a message is unanswered, and else ten times a second."""

    def handle_msg(self, msg: Any) -> None:
        """Take a message of the manager."""

    def stop(self) -> None:
        """The last call, when the worker is stopped."""


class _Place:
    """A worker's number: the worker that stands there now, and what it takes to start another one."""

    def __init__(self, module: str, arguments: bytes, newcomer: Newcomer | None) -> None:
        self.module = module
        self.arguments = arguments
        self.newcomer = newcomer
        self.worker: WorkerHandle | None = None
        self.is_active = False
        self.is_dead = False
        #: Messages for the next worker, in CBOR.
        self.waiting: list[bytes] = []
        self.retry_at = 0.0


class DistributedManager:
    """Creates workers, sends them messages and collects what they send; a worker is known by its number, from 0.

    Derive from it and write `loop`, `handle_msg`, `on_new_worker` and `on_worker_disconnect`, then call `run_once` again and
    again; or call `try_accept`, `send` and `collect` yourself.
    """

    def __init__(
        self,
        address: str | None = None,
        authkey: bytes = default_authkey,
        ttl: float = 3600.0,
        poll_delay: float = 0.1,
    ) -> None:
        """
        Args:
            address: The address at which programs on other machines bring remote workers; `localhost` by default.
            authkey: The secret that they must have. Another address needs another one than the default.
            ttl: Seconds that a worker that owes an answer may be silent; then it counts as dead.
            poll_delay: Seconds that `run_once` waits at most.

        Raises:
            GridError: No grid can be started or reached, or no port from 6000 on is free.
        """
        self.address = address or default_address
        self.authkey = authkey
        self.ttl = ttl
        self.poll_delay = poll_delay
        if authkey == default_authkey and not socket.gethostbyname(self.address).startswith("127."):
            raise ValueError(
                f"at {self.address} strangers reach this manager, and the default authkey is known to everybody; "
                "choose another one: DistributedManager(address, authkey=…)"
            )
        listener, self.port = _listen(self.address)
        try:
            self._client, self._own_host = _grid(self.address, self.port)
        except BaseException:
            listener.close()
            raise
        self._introductions = Introductions(self._client, listener, authkey)
        self._places: list[_Place] = []
        self._numbers: dict[WorkerHandle, int] = {}
        self._coming: list[Event] = []
        self._has_stopped = False

    # What a program calls.

    def create_local_worker(self, wclass: type, *args: Any, **kwargs: Any) -> None:
        """Create a worker on this machine, or, if the manager is elsewhere, where there is room.

        The first of a file takes half a minute: its component is built.

        Raises:
            FunctionError: The class cannot become a worker.
            DeniedError: There is no room.
        """
        kwargs.pop("spawnf", None)  # There is no process to choose.
        arguments = _functions.start_arguments(wclass, b"", args, kwargs)
        place = _Place(self._client.module(wclass), arguments, None)
        self._start(place, hosts=self._own_host)
        self.on_new_worker(len(self._places) - 1)

    def get_client_args(self) -> ClientArgs:
        """What `create_remote_worker` takes on another machine."""
        return ((self.address, self.port), "AF_INET", self.authkey)

    def try_accept(self) -> bool:
        """Start the next remote worker that a program has brought; False if none waits."""
        newcomer = self._introductions.next()
        if newcomer is None:
            return False
        try:
            self._start(_Place(newcomer.module, newcomer.arguments, newcomer), hosts=[newcomer.host])
        except GridError as error:
            newcomer.refuse(str(error))
            return False
        return True

    def get_active_workers(self) -> list[int]:
        """The workers that run."""
        return self._those(lambda place: place.is_active)

    def get_unconfirmed_workers(self) -> list[int]:
        """The workers that do not run yet, or not again."""
        return self._those(lambda place: not place.is_active and not place.is_dead)

    def get_dead_workers(self) -> list[int]:
        """The workers that have ended."""
        return self._those(lambda place: place.is_dead)

    def send(self, worker: int, msg: Any) -> bool:
        """Send a worker a value; False if it is dead. Waits while 4 MiB of its messages, or 8 of one, are unanswered."""
        return self._send(self._places[worker], dumps(msg))

    def broadcast(self, obj: Any) -> list[bool]:
        """Send a value to all workers."""
        return [self.send(worker, obj) for worker in range(len(self._places))]

    def spread(self, obj: Mapping[int, Iterable[Any]]) -> Mapping[int, bool]:
        """Send each worker its own values."""
        if obj and max(obj) >= len(self._places):
            raise ValueError(f"there is no worker {max(obj)}")
        return {worker: all([self.send(worker, msg) for msg in messages]) for worker, messages in obj.items()}

    def collect(self) -> Mapping[int, list[Any]]:
        """What the workers have sent since the last time, by worker."""
        self._look(0.0)
        collected: dict[int, list[Any]] = {}
        coming, self._coming = self._coming, []
        for event in coming:
            number = self._numbers.get(event.worker)
            if number is not None:
                self._note(event, number, collected)
        self._start_again()
        return collected

    def flush(self) -> None:
        """Drop what the workers have sent."""
        self.collect()

    def poll(self) -> None:
        """Nothing: the grid itself notices workers that are silent."""

    def run_once(self) -> None:
        """Call `loop`, take in new workers, and give what has come to `handle_msg`; waits `poll_delay` if nothing has."""
        until = time.monotonic() + self.poll_delay
        self.loop()
        while self.try_accept():
            self.on_new_worker(len(self._places) - 1)
        for worker, messages in self.collect().items():
            for msg in messages:
                self.handle_msg(worker, msg)
        if not self._coming:
            self._look(max(until - time.monotonic(), 0.0))

    def stop(self) -> None:
        """Stop all workers, and take in no more. A manager that has stopped stays so."""
        if self._has_stopped:
            return
        self._has_stopped = True
        living = [place for place in self._places if not place.is_dead]
        workers = [place.worker for place in living if place.worker is not None]
        for place in living:
            place.is_dead = True
        try:
            self._client.stop_workers(workers, grace=timedelta(seconds=STOP_SECONDS))
            self._wait_for(set(workers))
        except GridError:
            pass  # They end with the connection.
        for place in living:
            if place.newcomer is not None:
                place.newcomer.stop()
        self._introductions.close()
        self._client.close()

    # What a program writes.

    def loop(self) -> None:
        """Called by every `run_once`."""

    def on_new_worker(self, worker: int) -> None:
        """A worker was created or taken in; it gets messages as soon as it runs."""

    def on_worker_disconnect(self, worker: int) -> None:
        """A worker has failed, was silent for too long, or is no more."""

    def handle_msg(self, worker: int, msg: Any) -> None:
        """A worker has sent a value."""

    # How it is done.

    def _those(self, are: Callable[[_Place], bool]) -> list[int]:
        return [number for number, place in enumerate(self._places) if are(place)]

    def _look(self, seconds: float) -> None:
        self._coming.extend(self._client.collect(timeout=seconds))

    def _note(self, event: Event, number: int, collected: dict[int, list[Any]]) -> None:
        place = self._places[number]
        if isinstance(event, Message):
            collected.setdefault(number, []).append(event.value)
        elif isinstance(event, Joined):
            place.is_active = True
        elif isinstance(event, Left):
            del self._numbers[event.worker]
            self._left(event, place, number)
        else:
            _log.warning("worker %d could not handle a message: %s", number, event.reason)

    def _left(self, left: Left, place: _Place, number: int) -> None:
        place.worker, place.is_active = None, False
        if place.is_dead:
            return
        if left.end in ("host-lost", "host-removed", "stopped"):
            # It did nothing wrong: another one takes its number.
            place.waiting[:0] = left.unanswered
            return
        place.is_dead = True
        lines = [left.why, *(f"    at {frame}" for frame in left.backtrace)]
        _log.warning("worker %d has ended: %s", number, "\n".join(lines))
        self.on_worker_disconnect(number)

    def _start(self, place: _Place, hosts: list[str] | None) -> None:
        """Starts a worker for a new place."""
        self._spawn(place, hosts=hosts)
        self._places.append(place)
        assert place.worker is not None
        self._numbers[place.worker] = len(self._places) - 1

    def _start_again(self) -> None:
        """Starts another worker for each place that has lost its own, on a machine that was brought or where there is room."""
        for number, place in enumerate(self._places):
            if place.worker is not None or place.is_dead or place.retry_at > time.monotonic():
                continue
            for labels in [dict([LABEL]), None]:
                try:
                    self._spawn(place, labels=labels)
                    break
                except DeniedError as error:
                    _log.debug("worker %d: %s", number, error)
            if place.worker is None:
                place.retry_at = time.monotonic() + RETRY_SECONDS
                continue
            self._numbers[place.worker] = number
            waiting, place.waiting = place.waiting, []
            for message in waiting:
                self._send(place, message)

    def _spawn(self, place: _Place, **where: Any) -> None:
        [place.worker] = self._client.spawn(place.module, arguments=place.arguments, ttl=self.ttl, **where)

    def _send(self, place: _Place, message: bytes) -> bool:
        if place.is_dead:
            return False
        if place.worker is None or place.waiting:
            place.waiting.append(message)
            return True
        try:
            place.worker.send(message, raw=True)
        except WorkerGoneError:
            # How it ended will be said; if by no fault of its own, the next one gets this.
            place.waiting.append(message)
        return True

    def _wait_for(self, workers: set[WorkerHandle]) -> None:
        until = time.monotonic() + STOP_SECONDS + 1.0
        while workers and time.monotonic() < until:
            self._look(max(until - time.monotonic(), 0.0))
            workers -= {event.worker for event in self._coming if isinstance(event, Left)}
            self._coming.clear()


def create_remote_worker(wclass: type, client_args: ClientArgs, *args: Any, **kwargs: Any) -> RemoteWorker:
    """Bring the manager at `client_args` a worker on this machine, from a program that goes on until it is stopped.

    Raises:
        FunctionError: The class cannot become a worker.
        GridError: The manager is not there, has another authkey, or cannot start the worker, and why.
    """
    kwargs.pop("spawnf", None)  # There is no process to choose.
    (address, port), _, authkey = client_args
    arguments = _functions.start_arguments(wclass, b"", args, kwargs)
    return bring((address, port), authkey, _functions.build(wclass), arguments)


def create_remote_worker_sync(wclass: type, client_args: ClientArgs, *args: Any, **kwargs: Any) -> None:
    """As `create_remote_worker`, and wait until the manager has stopped the worker."""
    create_remote_worker(wclass, client_args, *args, **kwargs).join()


def _listen(address: str) -> tuple[socket.socket, int]:
    """Listens on the first port of a hundred that is free for both kinds of messages."""
    failed: OSError | None = None
    for port in range(default_port, default_port + 100):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            try:
                listener.bind((address, port))
                datagrams.bind((address, port))
                listener.listen(16)
                return listener, port
            except OSError as error:
                listener.close()
                failed = error
    raise GridError(f"no port from {default_port} to {default_port + 99} is free at {address}: {failed}")


def _grid(address: str, port: int) -> tuple[Client, list[str] | None]:
    """The grid that a program finds, or one of its own that listens; the key of its own host."""
    manager = os.environ.get("GRID_MANAGER")
    if manager:
        return connect(manager), None
    listen = f"{socket.gethostbyname(address)}:{port}"
    client = connect("local", slots=SLOTS, listen=listen)
    return client, [host["key"] for host in client.hosts()]
