"""Workers that keep a state: how they are written, and what their client sees of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Union

from . import _wasm_grid  # pyright: ignore[reportPrivateUsage]
from ._waited import Waited

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: How long a worker that is stopped may take to finish its message, if nothing else is said.
GRACE = timedelta(seconds=10)


class Worker:
    """A worker in Python: a class at the top level of a file, whose objects live on hosts and are sent messages.

        class Adder(grid.Worker):
            def __init__(self, start=0):
                self.sum = start

            def handle_msg(self, msg):
                self.sum += msg
                self.send(self.sum)

    An exception ends the worker; `fail` says that a message cannot be handled, and the worker goes on.
    """

    def send(self, value: Any) -> None:
        """Send a value to the client. There is a client only where the worker runs, on a host."""
        raise RuntimeError("a worker sends from a host; start it there with client.spawn(…)")

    def handle_msg(self, msg: Any) -> None:
        """Take a message. What is sent from here and from `loop` answers it."""

    def loop(self) -> bool | None:
        """Do a slice of what is left to do; called at the start, after each message, and as its answer says.

        True: call again at once. False: nothing is left, and the message at hand is done. None: call again, at once while
        the message at hand is unanswered, and else after the next message or in 100 ms.
        """
        return False

    def stop(self) -> None:
        """The last call, when the worker is stopped in good order."""


def fail(reason: object) -> None:
    """Say, in a worker, that the message at hand cannot be handled, and why. This is no exception: return after it."""
    raise RuntimeError("a message fails on a host; start the worker there with client.spawn(…)")


class WorkerHandle:
    """A worker of this client, somewhere on the grid. Handles of the same worker are equal."""

    def __init__(self, client: _wasm_grid.Client, id: str) -> None:
        self._client = client
        self._id = id

    @property
    def id(self) -> str:
        """The worker's id, as `w1.17`."""
        return self._id

    def __repr__(self) -> str:
        return f"<wasm_grid.WorkerHandle {self._id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WorkerHandle) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def send(self, value: Any, *, raw: bool = False) -> int:
        """Send the worker a value, or bytes as they are if `raw`; the message's number, by which `Failed` refers to it.

        A worker that is still starting gets it once it runs. Waits while 4096 messages, or 4 MiB of
        them (8 of a single one), are unanswered.

        Raises:
            WorkerGoneError: It has ended.
        """
        return self._client.send(self._id, value, raw)

    def stop(self, grace: timedelta = GRACE) -> None:
        """Ask it to stop. Does not wait until it has ended: `Left` tells."""
        self._client.stop_workers([self._id], grace)


@dataclass(frozen=True)
class Joined:
    """A worker runs and takes messages. Its first messages may come before this."""

    worker: WorkerHandle
    host: str
    """The key of its host."""
    module: str
    """The digest of its module."""
    replaces: WorkerHandle | None
    """The worker that it replaces, if it was restarted."""


@dataclass(frozen=True)
class Message:
    """A worker has sent something."""

    worker: WorkerHandle
    payload: bytes = field(repr=False)
    """The bytes that it sent."""

    @property
    def value(self) -> Any:
        """What it sent, as the value that it is in CBOR.

        Raises:
            ValueFormError: It is none.
        """
        return _wasm_grid.loads(self.payload)


@dataclass(frozen=True)
class Failed:
    """A worker could not handle a message."""

    worker: WorkerHandle
    message: int
    """The number that `send` returned."""
    reason: str
    """Why, in the worker's words."""


@dataclass(frozen=True)
class Left:
    """A worker has ended. Nothing more comes from it."""

    worker: WorkerHandle
    end: str
    """How, in a word: `stopped`, `host-lost`, `trap` …"""
    why: str
    """How, in a sentence."""
    backtrace: list[str]
    """The frames of a worker that failed, innermost first."""
    unanswered: list[bytes]
    """The messages that it was sent and did not answer, oldest first."""


Event = Union[Joined, Message, Failed, Left]


class Events(Waited[Event]):
    """What comes from a client's workers: an iterator, and with `async for` an asynchronous one."""

    def __init__(self, client: _wasm_grid.Client, timeout: float | None) -> None:
        super().__init__()
        self._client = client
        self._timeout = timeout
        self._taken: list[Event] = []

    def _take(self) -> Event | None:
        if not self._taken:
            self._taken = collect(self._client, self._timeout)
            self._taken.reverse()
        return self._taken.pop() if self._taken else None


def collect(client: _wasm_grid.Client, timeout: float | None) -> list[Event]:
    """The events that have come; waits for the first for so many seconds, or without an end."""
    return [_event(client, parts) for parts in client.next_events(timeout)]


def _event(client: _wasm_grid.Client, parts: _wasm_grid.EventParts) -> Event:
    worker = WorkerHandle(client, parts[1])
    if parts[0] == "message":
        return Message(worker, parts[2])
    if parts[0] == "joined":
        replaces = None if parts[4] is None else WorkerHandle(client, parts[4])
        return Joined(worker, parts[2], parts[3], replaces)
    if parts[0] == "failed":
        return Failed(worker, parts[2], parts[3])
    return Left(worker, *parts[2:])


def spawn_arguments(args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> bytes:
    """What a worker's start gets: nothing, a list by position, or a map by name, as every language's library reads it."""
    if args and kwargs:
        raise ValueError("a module takes arguments by position or by name, and not both")
    if kwargs:
        return _wasm_grid.dumps(dict(kwargs))
    return _wasm_grid.dumps(list(args)) if args else b""


def restarts(policy: str | int) -> int | None:
    """The number that stands for a policy: `"never"`, `"always"`, or how many times at most."""
    if policy == "never":
        return None
    if policy == "always":
        return 2**32 - 1
    if isinstance(policy, int) and 0 < policy < 2**32 - 1:
        return policy
    raise ValueError(f"restart is 'never', 'always' or a number, and not {policy!r}")
