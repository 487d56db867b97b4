"""Clients."""

from __future__ import annotations

import atexit
import hashlib
import os
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Union

from . import _functions, _wasm_grid, _workers  # pyright: ignore[reportPrivateUsage]
from ._closing import Closing
from ._jobs import STOP_SECONDS_MAX, Job, Outcomes, check_process
from ._programs import installed
from ._streams import Streams
from ._wasm_grid import GridError
from ._workers import GRACE, Event, Events, WorkerHandle

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ._wasm_grid import HostInfo, WorkerInfo

#: What a module may be given as: a file that ends in `.wasm` or `.cwasm`, its bytes, the name or digest of one that the
#: manager has, or a function or a class: one at the top level of a file, one that was typed at a prompt or in a notebook, or
#: one of the standard library. A function is called with each message; an object of a class gets them.
Module = Union[str, "os.PathLike[str]", bytes, Callable[[Any], Any], "type[Any]"]

_HOUR = timedelta(hours=1)


def connect(
    manager: str | None = None,
    *,
    slots: int | None = None,
    home: str | os.PathLike[str] | None = None,
    listen: str | None = None,
) -> Client:
    """Connect to a grid.

    Args:
        manager: A ticket, `KEY@HOST:PORT`, or `HOST:PORT`, whose key is then trusted on first use. By default it is what
            the variable `GRID_MANAGER` says, or else the manager that `grid up` runs on this machine for this user. If
            there is none, a manager and a host start in this process and end with the client; `"local"` starts them in
            any case. On Linux the host runs workers in locked-down processes of their own, by the `grid` that was
            installed with this package; without that one, in this process.
        slots: How many tasks the host in this process does at a time; as many as there are cores by default.
        home: The folder with the user's key and known managers, instead of `GRID_HOME` or the one in the user's home.
        listen: The address, as `192.0.2.7:4747`, at which the grid in this process takes in hosts, which then need approval:
            see :meth:`Client.approve_host`. By default it takes in none.

    Raises:
        ConnectError: The manager was not reached, or did not let this client in.
        GridError: No grid can be started in this process.
    """
    folder = None if home is None else Path(home)
    address = manager or os.environ.get("GRID_MANAGER") or _running(folder)
    if address == "local":
        address = None
    if slots is None:
        slots = _cores()
    elif slots < 1:
        raise ValueError("a host has one slot at least")
    return Client(_wasm_grid.connect(address, slots, folder, listen, installed("grid")))


def _running(home: Path | None) -> str | None:
    """The address that `grid up` wrote down, if it runs here."""
    try:
        return ((home or Path(_wasm_grid.home())) / "running-manager").read_text().strip()
    except OSError:
        return None


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Not on this system.
        return os.cpu_count() or 1


class Client(Closing):
    """A client of a grid, made by :func:`connect`. It can be used by many threads, and as a context manager."""

    def __init__(self, inner: _wasm_grid.Client) -> None:
        self._process = os.getpid()
        self._inner = inner
        # They outlive a client that nobody refers to any more, until what was submitted is done.
        self._streams = Streams(keep=inner)
        self._maps: weakref.WeakSet[Outcomes] = weakref.WeakSet()
        _open.add(self)

    def __del__(self) -> None:
        if hasattr(self, "_streams") and self._process == os.getpid():
            self._streams.end(cancel=False)

    def __repr__(self) -> str:
        return f"<wasm_grid.Client, {'closed' if self._inner.is_closed else 'open'}>"

    def close(self) -> None:
        """End the connection, and the grid if it is in this process.

        Maps that have not ended are stopped, and what was submitted is cancelled. A manager elsewhere goes on with jobs
        that were made with :meth:`job`, and with maps that it is to `keep`.
        """
        if self._process != os.getpid():
            return
        _open.discard(self)
        if not self._inner.is_closed:
            end = time.monotonic() + STOP_SECONDS_MAX
            self._streams.end(cancel=True)
            for outcomes in list(self._maps):
                outcomes.abandon(max(0.0, end - time.monotonic()))
            self._streams.join(max(0.0, end - time.monotonic()))
        self._inner.close()

    def module(self, module: Module) -> str:
        """The digest of a module, which is uploaded if it is a file, bytes or a function.

        A function's file is built once, which takes half a minute, and from then on taken from the user's folder. All
        functions of the standard library, and those typed ones that import nothing else, share one module.

        Raises:
            FunctionError: The function cannot become a worker.
            GridError: The manager has no module of that name.
            ModuleError: The grid does not run such a module.
            FileNotFoundError: There is no such file.
        """
        if isinstance(module, bytes):
            return self._inner.upload(_release("module", module), module)
        if callable(module):
            built = _functions.build(module)
            return self._inner.upload(_release(_functions.name_of(module), built), built)
        path = Path(module)
        if path.suffix in (".wasm", ".cwasm") or not isinstance(module, str):
            return self._inner.upload(path.stem, path.read_bytes())
        digest = self._inner.find_module(module)
        if digest is None:
            raise GridError(f"the manager has no module {module!r}; give the path of its .wasm file, or upload it")
        return digest

    def job(
        self,
        module: Module,
        *,
        name: str | None = None,
        arguments: bytes = b"",
        labels: Mapping[str, str] | None = None,
        memory: int = 0,
        priority: int = 0,
        timeout: float | timedelta = _HOUR,
        retries: int = 2,
        max_failures: int | str | None = None,
        traceparent: str | None = None,
    ) -> Job:
        """Make a job, which has no tasks yet.

        Args:
            module: Its module, see :data:`Module`.
            name: What people see; the module's name by default.
            arguments: Bytes that each executor of the module gets when it starts; for a function, nothing, or `b"**"`: then
                each input is a list of positional arguments and a dict of named ones.
            labels: What hosts must carry to get tasks of it.
            memory: Bytes that a task may use; 0 leaves it to the module and the host.
            priority: Among the jobs of this user the highest goes first.
            timeout: Seconds that a task may take.
            retries: How often a task that fails by its own fault is tried again.
            max_failures: So many failed tasks, as `10` or `"5%"`, end the whole job; `None` never does.
            traceparent: What the job is a part of, as the W3C's Trace Context writes it. A manager that exports traces
                (`grid up --otlp`) exports its tasks as a part of that; `grid job trace` shows where their time went.

        Raises:
            ValueError: `max_failures` or `traceparent` cannot be read.
            DeniedError: The manager does not take it, and says why.
        """
        digest = self.module(module)
        if callable(module):
            arguments = _functions.start_arguments(module, arguments)
        if name is None:
            name = _name_of(module, digest)
        span = timeout if isinstance(timeout, timedelta) else timedelta(seconds=timeout)
        inner = self._inner.new_job(
            digest,
            name=name,
            arguments=arguments,
            labels=list((labels or {}).items()),
            memory=memory,
            priority=priority,
            timeout=span,
            retries=retries,
            max_failures=_failures(max_failures),
            traceparent=traceparent,
        )
        return Job(inner)

    def submit(
        self,
        module: Module,
        value: Any,
        *,
        name: str | None = None,
        arguments: bytes = b"",
        labels: Mapping[str, str] | None = None,
        memory: int = 0,
        priority: int = 0,
        timeout: float | timedelta = _HOUR,
        retries: int = 2,
    ) -> Future[Any]:
        """Run one task; its value is the result of a future, and a failure its exception.

        It is a future of `concurrent.futures`, for whose `as_completed` and `wait` it is, and is awaited as
        `asyncio.wrap_future(future)`. Tasks of the same module and settings share a job.

        Args:
            module: See :data:`Module`.
            value: The input of the task, as a value in CBOR.
            name, arguments, labels, memory, priority, timeout, retries: As for :meth:`job`.
        """
        check_process(self._process, "client", "call wasm_grid.connect()")
        kind = (module, name, arguments, tuple(sorted((labels or {}).items())), memory, priority, timeout, retries)

        def start() -> Job:
            return self.job(
                module,
                name=name,
                arguments=arguments,
                labels=labels,
                memory=memory,
                priority=priority,
                timeout=timeout,
                retries=retries,
            )

        return self._streams.submit(kind, start, value)

    def map(
        self,
        module: Module,
        inputs: Iterable[Any],
        *,
        in_order: bool = False,
        raw: bool = False,
        keep: bool = False,
        progress: bool | None = None,
        name: str | None = None,
        arguments: bytes = b"",
        labels: Mapping[str, str] | None = None,
        memory: int = 0,
        priority: int = 0,
        timeout: float | timedelta = _HOUR,
        retries: int = 2,
        max_failures: int | str | None = None,
        traceparent: str | None = None,
    ) -> Outcomes:
        """Run one task for each input, and give their outcomes as they come.

        Inputs are taken while outcomes are, some 50 000 ahead at most, so that a list may be longer than memory. A task
        that fails is an outcome whose `value` raises; the others go on.

        Args:
            module: See :data:`Module`.
            inputs: The inputs of the tasks, each as a value in CBOR. While the iterator waits for something itself, what it
                gave just before may not be submitted yet: :meth:`submit` takes tasks one at a time.
            in_order: Gives outcomes in the order of their inputs; one slow task then holds others back.
            raw: Inputs are bytes, and go as they are.
            keep: The manager keeps the job after its last outcome was given, or when the outcomes are let go of, so that it
                can be found by its id. It keeps 1000 jobs of a user. Otherwise outcomes that are let go of stop the job.
            progress: Shows on standard error how far it is. By default it does where that is a terminal, and the job
                takes more than a second.
            name, arguments, labels, memory, priority, timeout, retries, max_failures, traceparent: As for :meth:`job`.

        Raises:
            DeniedError: The manager does not take it, and says why.
        """
        job = self.job(
            module,
            name=name,
            arguments=arguments,
            labels=labels,
            memory=memory,
            priority=priority,
            timeout=timeout,
            retries=retries,
            max_failures=max_failures,
            traceparent=traceparent,
        )
        outcomes = job.map(inputs, in_order=in_order, raw=raw, keep=keep, progress=progress)
        self._maps.add(outcomes)
        return outcomes

    def spawn(
        self,
        worker: Module,
        *,
        count: int = 1,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        arguments: bytes | None = None,
        hosts: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
        memory: int = 0,
        restart: str | int = "never",
        ttl: float | timedelta = _HOUR,
    ) -> list[WorkerHandle]:
        """Start workers, which live until they are stopped or the client is closed, and are sent messages.

        Args:
            worker: A class, see :class:`Worker`, a function, or a module in another language, see :data:`Module`.
            count: How many.
            args, kwargs: What each is started with. A module in another language takes one of the two.
            arguments: The same in bytes, for a module that reads no CBOR.
            hosts: Keys of hosts, each of which gets one; `count` counts for nothing then. See :meth:`hosts`.
            labels: What hosts must carry.
            memory: Bytes that a host sets aside for each; 0 leaves it to its slots.
            restart: What happens when one dies: `"never"` anything, `"always"` another one starts where there is room, a
                number limits how often. `Joined` tells whom it replaces, `Left` what was not answered.
            ttl: Seconds that one that owes an answer may be silent; then it counts as dead.

        Raises:
            DeniedError: There is no room for all of them, say; then none is started.
        """
        digest = self.module(worker)
        if arguments is None:
            if callable(worker):
                arguments = _functions.start_arguments(worker, b"", args, kwargs)
            else:
                arguments = _workers.spawn_arguments(args, kwargs)
        ids = self._inner.spawn(
            digest,
            count=count,
            hosts=None if hosts is None else list(hosts),
            arguments=arguments,
            labels=list((labels or {}).items()),
            memory=memory,
            restart=_workers.restarts(restart),
            ttl=ttl if isinstance(ttl, timedelta) else timedelta(seconds=ttl),
        )
        return [WorkerHandle(self._inner, id) for id in ids]

    def events(self, *, timeout: float | None = None) -> Events:
        """What comes from this client's workers: `Joined`, `Message`, `Failed` and `Left`, each once.

        Args:
            timeout: It ends when nothing has come for so many seconds; never by default.
        """
        return Events(self._inner, timeout)

    def collect(self, *, timeout: float | None = 0.0) -> list[Event]:
        """The events that have come from this client's workers; waits for the first for so many seconds."""
        return _workers.collect(self._inner, timeout)

    def stop_workers(self, workers: Iterable[WorkerHandle], *, grace: timedelta = GRACE) -> None:
        """Ask workers to stop; each may take `grace` to finish its message. Does not wait: `Left` tells.

        Raises:
            DeniedError: One of them is not this user's; then none is stopped.
        """
        self._inner.stop_workers([worker.id for worker in workers], grace)

    def workers(self) -> list[WorkerInfo]:
        """This client's workers that have not ended, as the manager sees them."""
        return self._inner.workers()

    def hosts(self) -> list[HostInfo]:
        """The hosts of the grid."""
        return self._inner.hosts()

    def approve_host(self, key: str) -> None:
        """Let a host in that waits for approval.

        Raises:
            DeniedError: No such host waits, or this user is no administrator.
        """
        self._inner.approve_host(key)

    def drain_host(self, key: str) -> None:
        """Make a host leave in good order: it gets no more work, stops its workers, and ends.

        Raises:
            DeniedError: There is no such host, or this user is no administrator.
        """
        self._inner.drain_host(key)

    @property
    def address(self) -> str | None:
        """Where other machines reach the manager, as `KEY@HOST:PORT`; `None` if they cannot."""
        return self._inner.address

    def find_job(self, id: str) -> Job:
        """A handle to a job by its id, whichever program of this user made it."""
        return Job(self._inner.find_job(id))


#: Clients that are to be closed when the program ends.
_open: weakref.WeakSet[Client] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:  # pyright: ignore[reportUnusedFunction]
    for client in list(_open):
        client.close()


def _release(name: str, module: bytes) -> str:
    """A name that no other module has.

    A host that has seen a newer module of a name runs none that is older, and what is called by a function's name may well
    be older than another program's: this one may have begun before a line was changed.
    """
    return f"{name[:48]}-{hashlib.sha256(module).hexdigest()[:12]}"


def _name_of(module: Module, digest: str) -> str:
    if isinstance(module, bytes):
        return digest[:12]
    return _functions.shown_name_of(module) if callable(module) else Path(module).stem


def _failures(most: int | str | None) -> tuple[int, bool] | None:
    if most is None:
        return None
    if isinstance(most, int):
        return (most, False)
    number = most[:-1].strip() if most.endswith("%") else most
    if not number.isdigit() or (most.endswith("%") and int(number) > 100):
        raise ValueError(f"max_failures is a number, or a share as '5%', and not {most!r}")
    return (int(number), most.endswith("%"))
