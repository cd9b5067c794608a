"""What the tasks of one worker process share: store, loop, client, leases, router.

Celery's threads run the tasks; one event loop in a thread of its own carries all calls, so
hundreds wait in one process at the price of coroutines (docs/decisions/0001-pool.md).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from promptyard.settings import Settings
from promptyard.store import AsyncStore, Store, fleet
from promptyard_worker.gemini.client import GeminiClient
from promptyard_worker.reconciler import Reconciler
from promptyard_worker.recovery import Leases
from promptyard_worker.routing.file import find_router_file, load_router

if TYPE_CHECKING:
    from promptyard_worker.routing.config import RouterConfig
    from promptyard_worker.routing.router import PromptRouter

T = TypeVar("T")


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="promptyard-loop", daemon=True
        )
        self._thread.start()

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there; block until it is done."""
        return asyncio.run_coroutine_threadsafe(step, self._loop).result()

    def start(self, step: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine there in the background."""
        asyncio.run_coroutine_threadsafe(step, self._loop)

    def close(self) -> None:
        """Cancel what runs and stop."""
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class Station:
    """One worker process' shared parts; built on first use, closed at shutdown."""

    def __init__(self, redis_url: str, settings: Settings, *, concurrency: int) -> None:
        self.settings = settings
        self.concurrency = concurrency
        self.loop = Loop()
        self.store = Store(redis_url)
        self.async_store = AsyncStore(redis_url)
        self.leases = Leases(self.async_store, lease_s=settings.lease_s)
        self.reconciler = Reconciler(self.async_store, patience_s=settings.lease_s)
        self._client: GeminiClient | None = None
        self._lock = threading.Lock()

    @cached_property
    def config(self) -> RouterConfig:
        """The router file."""
        return load_router(find_router_file(self.settings.router_file))

    @cached_property
    def router(self) -> PromptRouter:
        """The router; only a classify worker pays for it."""
        from promptyard_worker.routing.router import PromptRouter

        return PromptRouter(self.config)

    @property
    def client(self) -> GeminiClient:
        """The Gemini client, opened on the loop."""
        if self._client is None:
            with self._lock:  # the first tasks of several threads come here together
                if self._client is None:
                    client = GeminiClient(concurrency=self.concurrency)
                    self.loop.run(client.open())
                    self._client = client
        return self._client

    def warm_up(self, *, routes: bool, calls: bool) -> None:
        """Build what the worker's queues need, so that a bad setting ends it at the start."""
        _ = self.config
        if routes:
            _ = self.router
        if calls:
            _ = self.client

    def publish_catalog(self) -> None:
        """Tell producers the models and prices."""
        self.store.do(
            fleet.put_catalog(self.config.catalog(), retention_s=self.settings.retention_s)
        )

    def close(self) -> None:
        """Close everything; calls in flight are abandoned."""
        if self._client is not None:
            self.loop.run(self._client.close())
        self.loop.run(self.async_store.close())
        self.loop.close()
        self.store.close()
