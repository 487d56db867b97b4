"""Futures of tasks that a program brings one at a time."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Callable, Hashable

from ._errors import as_raised
from ._wasm_grid import Feed, GridError, TaskError, dumps

if TYPE_CHECKING:
    from ._jobs import Job, Outcomes

#: Jobs that are open at a time: one more ends that which has been idle longest. A notebook defines a function anew each
#: time that its cell is run, and each would else leave a thread and a job.
OPEN_MAX = 16


class Streams:
    """Jobs that stay open, one for each kind of task, and the futures of what they were given."""

    def __init__(self, most: int | None = None, keep: object = None) -> None:
        """With `most`, so many tasks at the most are with the grid at a time; the others wait here.

        What is to `keep` lives until all futures are resolved.
        """
        self._most = most
        self._keep = keep
        # Reentrant, because the collector of garbage may end an executor wherever memory is taken.
        self._lock = threading.RLock()
        self._starting = threading.Lock()
        self._streams: dict[Hashable, _Stream] = {}
        self._ending: list[_Stream] = []
        self._waiting: deque[tuple[_Stream, bytes, Future[Any]]] = deque()
        self._running = 0
        self._is_ended = False

    def submit(self, kind: Hashable, start: Callable[[], Job], value: Any) -> Future[Any]:
        """Give a task to the job of its kind, which is started if there is none.

        Raises:
            RuntimeError: The streams were ended.
        """
        data = dumps(value)
        future: Future[Any] = Future()
        if not self._put(kind, data, future):
            # A build may take half a minute; only who needs another one waits for it.
            with self._starting:
                while not self._put(kind, data, future):
                    self._start(kind, start())
        self._go_on()
        return future

    def _put(self, kind: Hashable, data: bytes, future: Future[Any]) -> bool:
        """Lets a task wait for room in the job of its kind, if there is one."""
        with self._lock:
            self._check()
            stream = self._streams.get(kind)
            if stream is None or not stream.is_open:
                return False
            stream.held += 1
            # The newest is the last.
            self._streams[kind] = self._streams.pop(kind)
            self._waiting.append((stream, data, future))
            return True

    def _check(self) -> None:
        if self._is_ended:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def _start(self, kind: Hashable, job: Job) -> None:
        stream = _Stream(job, self._freed)
        with self._lock:
            if self._is_ended:
                stream.end()
            self._check()
            idle = [other for other, open in self._streams.items() if open.held == 0]
            for other in idle[: max(0, len(self._streams) + 1 - OPEN_MAX)]:
                ending = self._streams.pop(other)
                ending.end()
                self._ending.append(ending)
            self._ending = [ending for ending in self._ending if ending.is_open]
            self._streams[kind] = stream

    def _go_on(self) -> None:
        """Gives the grid what waits, as far as there is room, and ends the jobs if nothing more can come."""
        lost: list[tuple[_Stream, Future[Any]]] = []
        with self._lock:
            while self._waiting and (self._most is None or self._running < self._most):
                stream, data, future = self._waiting.popleft()
                # With room for all, a future can be cancelled until its task has ended.
                if self._most is not None and not future.set_running_or_notify_cancel():
                    stream.held -= 1
                elif stream.put(data, future):
                    self._running += 1
                else:
                    stream.held -= 1
                    lost.append((stream, future))
            if self._is_ended and not self._waiting:
                for stream in self._streams.values():
                    stream.end()
        for stream, future in lost:
            stream.lose(future)

    def _freed(self, stream: _Stream) -> None:
        with self._lock:
            self._running -= 1
            stream.held -= 1
        self._go_on()

    def end(self, *, cancel: bool) -> None:
        """Take no more; with `cancel`, cancel what has not begun. Does not wait."""
        with self._lock:
            self._is_ended = True
            waiting = list(self._waiting) if cancel else []
        for _, _, future in waiting:
            future.cancel()
        if cancel and self._most is None:
            for stream in list(self._streams.values()):
                stream.cancel()
        self._go_on()

    def join(self, seconds: float | None = None) -> None:
        """Wait until all that was given has an outcome, for up to so many seconds for each job."""
        for stream in [*self._ending, *self._streams.values()]:
            stream.join(seconds)


class _Stream:
    """One job: what is fed into it, and the thread that resolves its futures."""

    def __init__(self, job: Job, freed: Callable[[_Stream], None]) -> None:
        self.held = 0
        self._freed = freed
        self._feed = Feed()
        self._lock = threading.Lock()
        self._next = 0
        self._futures: dict[int, Future[Any]] = {}
        self._failed: BaseException | None = None
        self._outcomes: Outcomes = job.map(self._feed, keep=False)
        self._thread = threading.Thread(target=self._resolve, name="wasm-grid-futures", daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        return self._failed is None

    def put(self, data: bytes, future: Future[Any]) -> bool:
        """Submits a task, unless the job has ended."""
        with self._lock:
            if self._failed is not None:
                return False
            self._feed.put(data)
            self._futures[self._next] = future
            self._next += 1
        return True

    def lose(self, future: Future[Any]) -> None:
        """Says to a future why it gets no outcome."""
        if future.running() or future.set_running_or_notify_cancel():
            future.set_exception(self._failed)

    def end(self) -> None:
        self._feed.end()

    def cancel(self) -> None:
        with self._lock:
            waiting = list(self._futures.values())
        if any([future.cancel() for future in waiting]):
            self._outcomes.close()

    def join(self, seconds: float | None) -> None:
        if self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def _resolve(self) -> None:
        failed: BaseException = GridError("the job has ended")
        try:
            for outcome in self._outcomes:
                with self._lock:
                    future = self._futures.pop(outcome.task)
                if future.running() or future.set_running_or_notify_cancel():
                    try:
                        future.set_result(outcome.value)
                    except TaskError as error:
                        future.set_exception(as_raised(error))
                    except Exception as error:
                        future.set_exception(error)
                # Nothing here holds on to what a future was given.
                del future, outcome
                self._freed(self)
        except BaseException as error:
            failed = error
        with self._lock:
            self._failed = failed
            left = list(self._futures.values())
            self._futures.clear()
        for future in left:
            self.lose(future)
            self._freed(self)
        # Nothing here refers to itself, so that all goes as soon as nobody needs it.
        self._freed = _nobody


def _nobody(_: _Stream) -> None: ...
