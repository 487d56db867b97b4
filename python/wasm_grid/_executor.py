"""The grid as an executor of the standard library."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Executor as StandardExecutor
from concurrent.futures import Future
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Callable, TypeVar, overload

from ._client import Client, Outcomes, connect
from ._wasm_grid import Feed, GridError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import ParamSpec

    Given = ParamSpec("Given")

Answer = TypeVar("Answer")


class Executor(StandardExecutor):
    """Runs functions, or modules, on a grid: an executor as those of `concurrent.futures`.

        with grid.Executor() as executor:
            print(executor.submit(pow_of, 2, 10).result())

    Each function or module has one job, which lasts until the executor is shut down. What fails raises `TaskError`.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        memory: int = 0,
        priority: int = 0,
        timeout: float | timedelta = timedelta(hours=1),
        retries: int = 2,
    ) -> None:
        """
        Args:
            client: Whose grid it is; by default one that `connect()` gives, which is closed at the end.
            labels, memory, priority, timeout, retries: As for :meth:`Client.job`.
        """
        self._own = connect() if client is None else None
        self._client = client or self._own
        self._settings: dict[str, Any] = {
            "labels": labels,
            "memory": memory,
            "priority": priority,
            "timeout": timeout,
            "retries": retries,
        }
        self._lock = threading.Lock()
        self._streams: dict[Any, _Stream] = {}
        self._is_shut = False

    @overload
    def submit(
        self, fn: Callable[Given, Answer], /, *args: Given.args, **kwargs: Given.kwargs
    ) -> Future[Answer]: ...

    @overload
    def submit(self, fn: str | os.PathLike[str] | bytes, value: Any, /) -> Future[Any]: ...

    def submit(self, fn: Callable[..., Any] | str | os.PathLike[str] | bytes, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a function with these arguments, or a module with one input.

        A function's file is built and uploaded the first time, which takes half a minute.

        Raises:
            FunctionError: The function cannot become a worker.
            RuntimeError: The executor was shut down.
        """
        if callable(fn):
            value: Any = [list(args), kwargs]
        elif len(args) == 1 and not kwargs:
            value = args[0]
        else:
            raise TypeError("a module takes one input and no more")
        with self._lock:
            if self._is_shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            assert self._client is not None
            stream = self._streams.get(fn)
            if stream is None:
                arguments = b"**" if callable(fn) else b""
                job = self._client.job(fn, arguments=arguments, **self._settings)
                stream = self._streams[fn] = _Stream(job.map)
        return stream.submit(value)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; with `wait`, wait for what was submitted. See `concurrent.futures.Executor.shutdown`."""
        with self._lock:
            self._is_shut = True
            streams = list(self._streams.values())
        for stream in streams:
            stream.end(cancel_futures)
        if wait:
            for stream in streams:
                stream.join()
            if self._own is not None:
                self._own.close()


class _Stream:
    """One job: what is fed into it, and the thread that resolves its futures."""

    def __init__(self, start: Callable[..., Outcomes]) -> None:
        self._feed = Feed()
        self._lock = threading.Lock()
        self._next = 0
        self._futures: dict[int, Future[Any]] = {}
        self._failed: BaseException | None = None
        self._outcomes = start(self._feed, keep=False)
        self._thread = threading.Thread(target=self._resolve, name="wasm-grid-executor", daemon=True)
        self._thread.start()

    def submit(self, value: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            if self._failed is not None:
                raise self._failed
            self._feed.put(value)
            self._futures[self._next] = future
            self._next += 1
        return future

    def end(self, cancel: bool) -> None:
        self._feed.end()
        if cancel:
            with self._lock:
                waiting = list(self._futures.values())
            if any([future.cancel() for future in waiting]):
                try:
                    self._outcomes.job.cancel()
                except GridError:
                    pass  # It is over already, or its manager is gone.

    def join(self) -> None:
        self._thread.join()

    def _resolve(self) -> None:
        failed: BaseException = GridError("the job has ended")
        try:
            for outcome in self._outcomes:
                with self._lock:
                    future = self._futures.pop(outcome.task)
                if future.set_running_or_notify_cancel():
                    try:
                        future.set_result(outcome.value)
                    except Exception as error:
                        future.set_exception(error)
        except BaseException as error:
            failed = error
        with self._lock:
            self._failed = failed
            left = list(self._futures.values())
            self._futures.clear()
        for future in left:
            if future.set_running_or_notify_cancel():
                future.set_exception(failed)
