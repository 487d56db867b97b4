"""Iterators that wait, in a thread or in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

Item = TypeVar("Item")


class Waited(Generic[Item]):
    """An iterator whose items are waited for, and with `async for` an asynchronous one."""

    def __init__(self) -> None:
        self._coming: asyncio.Future[Item | None] | None = None

    def _take(self) -> Item | None:
        """Waits for the next item; `None` at the end."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        item = self._take()
        if item is None:
            raise StopIteration
        return item

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        # A wait that is cancelled goes on in its thread; its item is given to whoever asks next.
        if self._coming is None or self._coming.cancelled():
            loop = asyncio.get_running_loop()
            self._coming = loop.run_in_executor(None, self._take)
        try:
            item = await asyncio.shield(self._coming)
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._coming = None
            raise
        self._coming = None
        if item is None:
            raise StopAsyncIteration
        return item
