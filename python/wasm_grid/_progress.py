"""One line that says how far a map is, where a person looks."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from ._wasm_grid import JobInfo, Outcome, Outcomes

#: Seconds before the first line, if nobody asked for one: what is done by then needs none.
_PATIENCE = 1.0

#: Seconds between two lines: five a second can be read.
_PAUSE = 0.2

#: Blocks of the bar.
_WIDTH = 24


def bar_for(inputs: Any, wanted: bool | None) -> Bar | None:
    """The bar of a map, if it is to have one."""
    stream: TextIO | None = sys.stderr
    if wanted is False or stream is None:  # pyright: ignore[reportUnnecessaryComparison]
        return None
    # In a notebook standard error is no terminal, and lines that are drawn anew would be heaped up.
    if wanted is None and not stream.isatty():
        return None
    try:
        total = len(inputs)
    except TypeError:
        total = None
    return Bar(stream, total, 0.0 if wanted else _PATIENCE)


class Bar:
    """The line. It is drawn by whoever waits for an outcome, so that there is no thread for it."""

    def __init__(self, stream: TextIO, total: int | None, patience: float) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._total = total
        self._given = 0
        self._failed = 0
        self._started = time.monotonic()
        self._next = self._started + patience
        self._is_drawn = False
        self._has_ended = False

    def take(self, outcomes: Outcomes) -> Outcome | None:
        """The next outcome. Draws the line while it waits."""
        try:
            has_waited = False
            while True:
                left = self._next - time.monotonic()
                outcome = outcomes.take(max(left, 0.0) if left < _PAUSE else _PAUSE)
                if time.monotonic() >= self._next:
                    self._draw(outcomes.progress())
                if outcome is not False:
                    break
                has_waited = True
        except BaseException:
            # Ctrl-C among them.
            self.end()
            raise
        if outcome is None:
            self.end()
            return None
        self._given += 1
        self._failed += not outcome.ok
        if has_waited:
            # Where tasks are slow enough to wait for, what the program prints about each gets a clean line.
            self._erase()
        return outcome

    def end(self) -> None:
        """Leaves no trace of the line on a terminal."""
        if not self._has_ended:
            self._has_ended = True
            self._erase()

    def _draw(self, info: JobInfo | None) -> None:
        now = time.monotonic()
        self._next = now + _PAUSE
        if self._has_ended:
            return
        text = self._text(now - self._started, info)
        if self._is_terminal:
            # A line that is broken in two cannot be erased.
            text = text[: shutil.get_terminal_size().columns - 1]
        # Said first: Ctrl-C may come while it is written.
        self._is_drawn = self._is_terminal
        try:
            # Who prints next writes over it.
            self._stream.write(f"\r\x1b[K{text}\r" if self._is_terminal else f"{text}\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._has_ended = True  # Nobody reads it.
        if not self._is_terminal:
            self._next = now + _PATIENCE

    def _erase(self) -> None:
        if not self._is_drawn:
            return
        try:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
        except (OSError, ValueError):
            pass
        self._is_drawn = False

    def _text(self, seconds: float, info: JobInfo | None) -> str:
        # The manager knows of outcomes that are on their way to here.
        done = self._given if info is None else max(self._given, info["done"] + info["dead"])
        failed = self._failed if info is None else max(self._failed, info["dead"])
        speed = done / seconds if seconds > 0 else 0.0
        parts = [f"{done} of {self._total} tasks" if self._total is not None else f"{done} tasks"]
        if failed:
            parts.append(f"{failed} failed")
        parts.append(f"{speed:.1f}/s" if speed < 100 else f"{speed:.0f}/s")
        if self._total is not None:
            if done:
                parts.append(f"{_span((self._total - done) / speed)} left")
            filled = _WIDTH * done // max(self._total, 1)
            parts.insert(0, "#" * min(filled, _WIDTH) + "." * (_WIDTH - filled))
        return " · ".join(parts)


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
