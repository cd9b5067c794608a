"""The model calls in flight in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Calls:
    """Knows the calls in flight, so that a worker that stops can break them off."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    async def make(self, call: Coroutine[Any, Any, T]) -> T:
        """Await a call.

        Raises:
            CancelledError: it was broken off.
        """
        task = asyncio.ensure_future(call)
        self._tasks.add(task)
        try:
            return await task
        finally:
            self._tasks.discard(task)

    def break_off(self) -> int:
        """Cancel every call in flight; gives how many."""
        for task in self._tasks:
            task.cancel()
        return len(self._tasks)
