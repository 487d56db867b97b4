"""Jobs and the outcomes of their tasks."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from . import _shown, _wasm_grid  # pyright: ignore[reportPrivateUsage]
from ._closing import Closing
from ._progress import Bar, bar_for
from ._waited import Waited
from ._wasm_grid import GridError, Outcome

if TYPE_CHECKING:
    from ._wasm_grid import Feed, JobInfo

#: Seconds that it may take to stop the job of outcomes that are closed, if the manager does not answer.
STOP_SECONDS_MAX = 2.0


def check_process(process: int, what: str, do: str) -> None:
    """Threads do not survive a fork, and a connection has one.

    Raises:
        GridError: This is not the process that something was made in.
    """
    if process != os.getpid():
        raise GridError(f"this {what} belongs to the process that forked this one; {do} here, too")


class Job:
    """A job that the manager keeps, whether or not anybody holds this handle."""

    def __init__(self, inner: _wasm_grid.Job) -> None:
        self._handle = inner
        self._process = os.getpid()

    @property
    def _inner(self) -> _wasm_grid.Job:
        check_process(self._process, "job", "find it with Client.find_job()")
        return self._handle

    @property
    def id(self) -> str:
        """The job's id; see :meth:`Client.find_job`."""
        return self._handle.id

    def __repr__(self) -> str:
        return f"<wasm_grid.Job {self.id}>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        try:
            return _shown.table_of(self.show())
        except GridError as error:
            return _shown.table_without(self.id, str(error))

    def map(
        self,
        inputs: Iterable[Any] | Feed,
        *,
        first: int = 0,
        in_order: bool = False,
        raw: bool = False,
        keep: bool = True,
        progress: bool | None = None,
    ) -> Outcomes:
        """Submit tasks and give their outcomes, as :meth:`Client.map` does; the first task has the number `first`."""
        bar = bar_for(inputs, progress)
        return Outcomes(self._inner.go_on(inputs, first=first, after=0, raw=raw, in_order=in_order), keep, bar)

    def results(self, *, after: int = 0) -> Outcomes:
        """The outcomes of a job whose tasks were submitted before, those whose `seq` is greater than `after`.

        No more tasks can be submitted after this: it ends when the job does.
        """
        return Outcomes(self._inner.go_on((), first=0, after=after, raw=True, in_order=False))

    def show(self) -> JobInfo:
        """How far it is."""
        return self._inner.show()

    def wait(self) -> JobInfo:
        """Wait until it is over: all of its tasks have an outcome and it takes no more, or it was stopped or given up."""
        return self._inner.wait()

    def cancel(self) -> JobInfo:
        """Stop it: what waits is not done, what runs is stopped. The outcomes that it has stay."""
        return self._inner.cancel()

    def retry(self) -> JobInfo:
        """Try the tasks again that have failed for good."""
        return self._inner.retry()

    def forget(self) -> None:
        """Make the manager forget it, with inputs and outcomes. It must be over."""
        self._inner.forget()

    def explain(self) -> list[str]:
        """Why it is not further, in sentences."""
        return self._inner.explain()


class StoppedError(GridError):
    """A job has ended before all of its tasks had outcomes: it was stopped, or given up, and why."""


class Outcomes(Closing, Waited[Outcome]):
    """The outcomes of tasks, each once: an iterator, and with `async for` an asynchronous one.

    If the job is stopped or given up, the outcomes that it has come, and then a :class:`StoppedError`.

    Who lets go of them before the end, by `close()`, at the end of a `with`, or because nothing refers to them any more,
    stops the job and has it forgotten, unless the manager is to keep it.
    """

    def __init__(self, inner: _wasm_grid.Outcomes, keep: bool = True, bar: Bar | None = None) -> None:
        super().__init__()
        self._inner = inner
        self._keep = keep
        self._bar = bar
        self._process = os.getpid()
        self._ending = threading.Lock()
        self._has_ended = False
        self._is_closed = False

    def __del__(self) -> None:
        if hasattr(self, "_is_closed"):
            # Only says that it is to be stopped: who collects garbage must not wait.
            self.abandon(0.0)

    @property
    def job(self) -> Job:
        """The job whose outcomes they are."""
        check_process(self._process, "map", "find its job with Client.find_job()")
        return Job(self._inner.job)

    def progress(self) -> JobInfo | None:
        """How far the job is, as the manager said with its last answer."""
        return self._inner.progress()

    def close(self) -> None:
        """Give no more. Stops the job and has it forgotten, unless it is over or the manager is to keep it."""
        self.abandon(STOP_SECONDS_MAX)

    def abandon(self, seconds: float) -> None:
        """As :meth:`close`, but waits for up to so many seconds until the manager has done it."""
        if self._is_closed or self._process != os.getpid():
            return
        self._is_closed = True
        if self._bar is not None:
            self._bar.end()
        if not self._has_ended and not self._keep:
            try:
                self._inner.job.abandon(seconds)
            except GridError:
                pass  # There is no thread that could; the process is about to end.

    def _take(self) -> Outcome | None:
        check_process(self._process, "map", "connect and map")
        if self._is_closed:
            return None
        outcome = next(self._inner, None) if self._bar is None else self._bar.take(self._inner)
        if outcome is None:
            self._end()
        return outcome

    def _end(self) -> None:
        """There are no more outcomes: says so, once, if that is not because all tasks have one."""
        with self._ending:
            if self._has_ended or self._is_closed:
                return
            self._has_ended = True
        info = self._inner.progress()
        if info is not None and info["state"] == "stopped":
            raise StoppedError("the job was stopped")
        if info is not None and info["state"] == "given-up":
            raise StoppedError(f"the job was given up: {info['why']}")
        if not self._keep:
            try:
                self.job.forget()
            except GridError:
                pass  # It is over, and takes up a line in a list.

    def values(self) -> Iterator[Any]:
        """The tasks' values alone. A task that has failed raises its `TaskError`; the next call goes on behind it."""
        return _Values(self)


class _Values:
    def __init__(self, outcomes: Outcomes) -> None:
        self._outcomes = outcomes

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._outcomes).value
