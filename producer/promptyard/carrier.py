"""How the core's questions travel: blocking or awaited, and what waits for an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from promptyard.errors import StoreError
from promptyard.store import AsyncStore, Call, Store, keys

if TYPE_CHECKING:
    from redis.asyncio.client import PubSub as AsyncPubSub
    from redis.client import PubSub

T = TypeVar("T")


class Signal(Protocol):
    """A subscription to the end of one job."""

    async def wait(self, timeout_s: float) -> None:
        """Return when told, or after ``timeout_s``."""

    async def close(self) -> None:
        """Unsubscribe."""


class IO(Protocol):
    """What the core needs from a face."""

    async def do(self, call: Call[T]) -> T:
        """Carry out one call."""

    async def do_many(self, calls: list[Call[T]]) -> list[T]:
        """Carry out several in one round trip."""

    async def do_each(self, calls: list[Call[T]]) -> list[T | StoreError]:
        """Likewise, with the errors of those that are refused."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def signal(self, job_id: str) -> Signal:
        """Subscribe to the end of a job."""


def run_blocking(step: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine whose IO never suspends."""
    try:
        step.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("a blocking IO suspended")  # a bug of ours


def iterate_blocking(source: AsyncIterator[T]) -> Iterator[T]:
    """Iterate over what an asynchronous generator gives whose IO never suspends."""

    async def following() -> T:
        return await anext(source)

    with suppress(StopAsyncIteration):
        while True:
            yield run_blocking(following())


class BlockingIO:
    """Carries calls over the blocking store; its methods never suspend."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def do(self, call: Call[T]) -> T:
        return self._store.do(call)

    async def do_many(self, calls: Sequence[Call[T]]) -> list[T]:
        return self._store.do_many(calls)

    async def do_each(self, calls: Sequence[Call[T]]) -> list[T | StoreError]:
        return self._store.do_each(calls)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - its methods never suspend

    async def signal(self, job_id: str) -> Signal:
        pubsub = self._store.redis.pubsub(  # type: ignore[no-untyped-call]
            ignore_subscribe_messages=True
        )
        pubsub.subscribe(keys.done_channel(job_id))
        return _BlockingSignal(pubsub)


class _BlockingSignal:
    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub

    async def wait(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            if self._pubsub.get_message(timeout=left):  # None: a subscribe's own reply
                return

    async def close(self) -> None:
        self._pubsub.close()


class AwaitingIO:
    """Carries calls over the awaiting store."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store

    async def do(self, call: Call[T]) -> T:
        return await self._store.do(call)

    async def do_many(self, calls: Sequence[Call[T]]) -> list[T]:
        return await self._store.do_many(calls)

    async def do_each(self, calls: Sequence[Call[T]]) -> list[T | StoreError]:
        return await self._store.do_each(calls)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def signal(self, job_id: str) -> Signal:
        pubsub = self._store.redis.pubsub(ignore_subscribe_messages=True)
        await pubsub.subscribe(keys.done_channel(job_id))
        return _AwaitingSignal(pubsub)


class _AwaitingSignal:
    def __init__(self, pubsub: AsyncPubSub) -> None:
        self._pubsub = pubsub

    async def wait(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            if await self._pubsub.get_message(timeout=left):
                return

    async def close(self) -> None:
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]
