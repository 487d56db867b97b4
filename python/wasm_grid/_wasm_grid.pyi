"""The extension module. Programs use `wasm_grid`."""

import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Literal, Optional, TypedDict, Union, final

from typing_extensions import Buffer

__version__: str

class GridError(Exception):
    """Something that the grid could not do. All others are kinds of it."""

class ConnectError(GridError):
    """The manager was not reached, or did not let this client in."""

class DeniedError(GridError):
    """The manager denied a request."""

    code: str
    """What kind of denial it is, such as `NotFound`."""
    what: str
    """What was denied."""
    why: str
    """The reason."""
    help: str
    """What to do about it; may be empty."""

class ModuleError(GridError):
    """The grid does not run such a module; its author must act."""

class AttemptFailure(TypedDict):
    """An attempt at a task that failed."""

    host: str
    message: str
    backtrace: list[str]
    log: list[str]

class TaskError(GridError):
    """A task has failed for good."""

    task: int
    """The task's number in its job."""
    why: str
    """Why it was not tried again."""
    attempts: list[AttemptFailure]
    """Its newest failed attempts, at most 8, oldest first."""

class WorkerGoneError(GridError):
    """A message was not sent: the worker has ended, or is another client's."""

class ValueFormError(TypeError):
    """A value has no form in CBOR, or bytes are no such value."""

class WorkerInfo(TypedDict):
    """A worker, as the manager sees it."""

    worker: str
    """Its id."""
    state: str
    """`starting`, `running`, `away` or `stopping`."""
    end: Optional[str]
    host: str
    """The key of its host."""
    module: str
    """The digest of its module."""
    unanswered: int
    """Messages that it was sent and has not settled."""
    uncollected: int
    """Messages from it that this client has not taken."""
    deployment: Optional[str]

class HostInfo(TypedDict):
    """A host, as the manager sees it."""

    key: str
    fingerprint: str
    """The beginning of its key, for people."""
    name: str
    state: str
    """`pending`, `ready`, `draining`, `away` or `gone`."""
    address: str
    labels: list[str]
    """Each as `NAME=VALUE`."""
    slots: int
    workers: int
    """How many run on it."""
    memory_bytes: int
    """What it sets aside for workers."""
    platform: str
    software: str
    compilations: int
    compile_us: int
    module_bytes_sent: int
    walls: list[str]
    """What workers are kept behind there: `process`, `landlock`, `system calls`, `namespaces`."""

EventParts = Union[
    tuple[Literal["joined"], str, str, str, Optional[str]],
    tuple[Literal["message"], str, bytes],
    tuple[Literal["failed"], str, int, str],
    tuple[Literal["left"], str, str, str, list[str], list[bytes]],
]
"""An event: its kind, its worker, and more."""

class JobInfo(TypedDict):
    """How far a job is."""

    id: str
    name: str
    module: str
    state: str
    """`open`, `running`, `finished`, `stopped` or `given-up`."""
    why: Optional[str]
    """Why it was given up."""
    is_over: bool
    submitted: int
    waiting: int
    leased: int
    done: int
    dead: int
    retried: int
    hosts: int
    owner: str
    created: int
    """Seconds since 1970 on the manager's clock."""

@final
class Outcome:
    """What became of a task."""

    @property
    def task(self) -> int:
        """The task's number in its job, from 0."""
    @property
    def seq(self) -> int:
        """The outcome's own number in the job's record, from 1, in the order in which tasks ended."""
    @property
    def host(self) -> str:
        """The name of the host that the task ended on."""
    @property
    def seconds(self) -> float:
        """How long its last attempt ran, in seconds, as the host says."""
    @property
    def ok(self) -> bool:
        """True if the task was done."""
    @property
    def results(self) -> list[bytes]:
        """The messages that the task sent, in order. Raises `TaskError` if it failed."""
    @property
    def value(self) -> Any:
        """The first message that the task sent, as the value that it is in CBOR. Raises `TaskError` if it failed."""
    @property
    def error(self) -> Optional[TaskError]:
        """The error of a task that failed."""

@final
class Outcomes:
    def __iter__(self) -> Outcomes: ...
    def __next__(self) -> Outcome: ...
    def take(self, seconds: float) -> Union[Outcome, Literal[False], None]: ...
    @property
    def job(self) -> Job: ...
    def progress(self) -> Optional[JobInfo]: ...

@final
class Feed:
    def __init__(self) -> None: ...
    def put(self, value: Buffer) -> None: ...
    def end(self) -> None: ...

@final
class Job:
    @property
    def id(self) -> str: ...
    def go_on(self, inputs: Union[Iterable[Any], Feed], *, first: int, after: int, raw: bool, in_order: bool) -> Outcomes: ...
    def show(self) -> JobInfo: ...
    def wait(self) -> JobInfo: ...
    def cancel(self) -> JobInfo: ...
    def retry(self) -> JobInfo: ...
    def forget(self) -> None: ...
    def abandon(self, seconds: float) -> None: ...
    def explain(self) -> list[str]: ...

@final
class Client:
    def upload(self, name: str, module: Buffer) -> str: ...
    def find_module(self, name: str) -> Optional[str]: ...
    def new_job(
        self,
        module: str,
        *,
        name: str,
        arguments: bytes,
        labels: list[tuple[str, str]],
        memory: int,
        priority: int,
        timeout: timedelta,
        retries: int,
        max_failures: Optional[tuple[int, bool]],
        traceparent: Optional[str],
    ) -> Job: ...
    def find_job(self, id: str) -> Job: ...
    def spawn(
        self,
        module: str,
        *,
        count: int,
        hosts: Optional[list[str]],
        arguments: bytes,
        labels: list[tuple[str, str]],
        memory: int,
        restart: Optional[int],
        ttl: timedelta,
    ) -> list[str]: ...
    def send(self, worker: str, message: Any, raw: bool) -> int: ...
    def next_events(self, timeout: Optional[float]) -> list[EventParts]: ...
    def stop_workers(self, workers: list[str], grace: timedelta) -> None: ...
    def workers(self) -> list[WorkerInfo]: ...
    def hosts(self) -> list[HostInfo]: ...
    def approve_host(self, host: str) -> None: ...
    def drain_host(self, host: str) -> None: ...
    @property
    def address(self) -> Optional[str]: ...
    def close(self) -> None: ...
    @property
    def is_closed(self) -> bool: ...

def connect(
    manager: Optional[str],
    slots: int,
    home: Optional[os.PathLike[str]],
    listen: Optional[str],
    program: Optional[str],
) -> Client: ...
def home() -> str:
    """The folder of the user's key, known managers and caches."""

def dumps(value: Any, /) -> bytes:
    """Encode a value as CBOR.

    Takes `None`, `bool`, `int` of any size, `float`, `str`, `bytes` and other buffers of bytes, `list`, `tuple` (which
    comes back as a list), `dict` with any keys, `set`, `frozenset`, `datetime` with a time zone, `date`, `Decimal`, `UUID`,
    numpy's numbers, and as typed arrays (RFC 8746) numpy arrays, `array.array` and other buffers of numbers.

    A large array or `bytes` is copied once, into the result, if its memory is in one piece.

    Raises:
        ValueFormError: For everything else.
    """

def loads(data: Buffer, /) -> Any:
    """Decode bytes that are one value in CBOR and nothing else.

    A typed array becomes a numpy array if the program has imported numpy. Otherwise it becomes an `array.array`, or
    with more than one dimension a `memoryview` of that shape; numbers of 16 bits with a point are then an array of
    32 bits, which has them all. Arrays have memory of their own, which can be written.

    Raises:
        ValueFormError: They are not.
    """
