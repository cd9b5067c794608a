"""Iterators over the results of a batch, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Final

from promptyard.batch import BatchStatus
from promptyard.carrier import run_blocking
from promptyard.core import ProducerCore
from promptyard.job import JobResult

#: Cursor of the first result.
START: Final = "0-0"


class _Following:
    """Where a follow is: the page in hand and the cursor after the last result given."""

    def __init__(
        self,
        core: ProducerCore,
        batch_id: str,
        cursor: str,
        *,
        wait: bool,
        stop_at_budget: bool = False,
    ) -> None:
        self._core = core
        self._batch_id = batch_id
        self._wait = wait
        self._stop_at_budget = stop_at_budget
        self._items: list[tuple[str, JobResult]] = []
        self._next_page = cursor
        #: Give it to ``follow`` to go on after the last result this one gave.
        self.cursor = cursor
        #: The batch's counters as last read.
        self.status: BatchStatus | None = None

    async def next(self) -> JobResult | None:
        """The next result; None at the end."""
        while not self._items:
            page = await self._core.page(
                self._batch_id,
                self._next_page,
                wait=self._wait,
                stop_at_budget=self._stop_at_budget,
            )
            self._items, self._next_page = page.items[::-1], page.cursor
            self.status = page.status
            if page.done:
                return None
        self.cursor, result = self._items.pop()
        return result


class Follower(_Following, Iterator[JobResult]):
    """Iterator over the results of a batch."""

    def __next__(self) -> JobResult:
        result = run_blocking(self.next())
        if result is None:
            raise StopIteration
        return result


class AsyncFollower(_Following, AsyncIterator[JobResult]):
    """Asynchronous iterator over the results of a batch."""

    async def __anext__(self) -> JobResult:
        result = await self.next()
        if result is None:
            raise StopAsyncIteration
        return result
