"""The grid as an executor of the standard library."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from concurrent.futures import Executor as StandardExecutor
from concurrent.futures import Future
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Callable, TypeVar, overload

from ._client import Client, connect
from ._streams import Streams
from ._wasm_grid import GridError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import ParamSpec

    Given = ParamSpec("Given")

Answer = TypeVar("Answer")


class Executor(StandardExecutor):
    """Runs functions, or modules, on a grid: an executor as those of `concurrent.futures`.

        with grid.Executor() as executor:
            print(executor.submit(pow, 2, 10).result())

    Each function or module has one job while the executor takes tasks. What fails raises `TaskError`; if a function raised a
    built-in exception, then an exception that is both of its class and a `TaskError`. The program waits for what was
    submitted before it ends.
    """

    def __init__(
        self,
        client: Client | None = None,
        *,
        max_workers: int | None = None,
        labels: Mapping[str, str] | None = None,
        memory: int = 0,
        priority: int = 0,
        timeout: float | timedelta = timedelta(hours=1),
        retries: int = 2,
    ) -> None:
        """
        Args:
            client: Whose grid it is; by default one that `connect()` gives, which is closed at the end.
            max_workers: So many tasks at the most are with the grid at a time; the others wait here, where they can be
                cancelled. By default all go there as they come, and a future can be cancelled until its task has ended.
            labels, memory, priority, timeout, retries: As for :meth:`Client.job`.
        """
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        self._process = os.getpid()
        self._own = connect() if client is None else None
        self._streams = Streams(max_workers, self._own)
        self._client = client or self._own
        self._settings: dict[str, Any] = {
            "labels": labels,
            "memory": memory,
            "priority": priority,
            "timeout": timeout,
            "retries": retries,
        }
        _open.add(self)

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
            GridError: The process that made the executor forked this one.
            RuntimeError: The executor was shut down, or the program ends.
        """
        if callable(fn):
            value: Any = [list(args), kwargs]
        elif len(args) == 1 and not kwargs:
            value = args[0]
        else:
            raise TypeError("a module takes one input and no more")
        if self._process != os.getpid():
            raise GridError("this executor belongs to the process that forked this one; make one here, too")
        client = self._client
        assert client is not None
        arguments = b"**" if callable(fn) else b""
        return self._streams.submit(fn, lambda: client.job(fn, arguments=arguments, **self._settings), value)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; with `wait`, wait for what was submitted. See `concurrent.futures.Executor.shutdown`."""
        if self._process != os.getpid():
            return
        self._streams.end(cancel=cancel_futures)
        if wait:
            self._streams.join()
            _open.discard(self)
            if self._own is not None:
                self._own.close()

    def __del__(self) -> None:
        # What was submitted is done all the same, as with the executors of the standard library.
        if hasattr(self, "_streams") and self._process == os.getpid():
            self._streams.end(cancel=False)


_open: weakref.WeakSet[Executor] = weakref.WeakSet()


def _shut_all() -> None:
    for executor in list(_open):
        executor.shutdown()


# As the executors of the standard library do, so that what other modules do at the exit comes after it.
getattr(threading, "_register_atexit", atexit.register)(_shut_all)
