"""What the tasks of one worker process share: store, loop, client, leases, quota, policy.

Celery's threads run the tasks; one event loop in a thread of its own carries all calls, so
hundreds wait in one process at the price of coroutines (docs/decisions/0001-pool.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from promptyard.settings import Settings
from promptyard.store import AsyncStore, Call, Store, fleet
from promptyard_worker.allowance import SharedAllowance
from promptyard_worker.calls import Calls
from promptyard_worker.caretaker import Caretaker
from promptyard_worker.chunks import ChunkReaper, Chunks
from promptyard_worker.clock import Clock
from promptyard_worker.feedback import Feedback
from promptyard_worker.mover import Mover
from promptyard_worker.observe.decision_log import DecisionLog
from promptyard_worker.observe.observer import Observer
from promptyard_worker.observe.sinks import make_sink
from promptyard_worker.policy import Policy, PolicyWatch
from promptyard_worker.quota.breakers import Breakers
from promptyard_worker.quota.limiter import Limiter
from promptyard_worker.reconciler import Reconciler
from promptyard_worker.recovery import Leases, Reaper
from promptyard_worker.routing.file import find_router_file
from promptyard_worker.routing_services import routing_services

if TYPE_CHECKING:
    from promptyard_worker.gemini.client import GeminiClient
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
    """One worker process' shared parts."""

    def __init__(
        self, redis_url: str, settings: Settings, *, concurrency: int, routes: bool
    ) -> None:
        """Read the router file and build its router; nothing is published yet.

        Args:
            redis_url: where the store is.
            settings: of the process.
            concurrency: calls that may be in flight.
            routes: whether the worker classifies; only then it pays for a router.

        Raises:
            RouterFileError: the router file cannot be used.
            EmbeddingError: its utterances cannot be embedded now.
        """
        self.settings = settings
        self.concurrency = concurrency
        self.loop = Loop()
        self.store = Store(redis_url)
        self.async_store = AsyncStore(redis_url)
        self.clock = Clock()
        self.observer = Observer(self._decision_log())
        self.leases = Leases(self.async_store, lease_s=settings.lease_s)
        self.chunks = Chunks(self.async_store, lease_s=settings.lease_s)
        self.limiter = Limiter(
            self.async_store,
            clock=self.clock,
            lease_s=settings.lease_s,
            retention_s=settings.retention_s,
        )
        self.breakers = Breakers()
        self.feedback = Feedback()
        self.calls = Calls()
        self._client: GeminiClient | None = None
        self._lent = contextlib.ExitStack()
        self._services = self._lent.enter_context(
            routing_services(settings, allowance=SharedAllowance(self.store))
        )
        self._lock = threading.Lock()
        self.policies = PolicyWatch(
            find_router_file(settings.router_file),
            build=self._build_router if routes else None,
            publish=self._publish,
        )

    @property
    def policy(self) -> Policy:
        """The policy in force; take it once for what belongs together."""
        return self.policies.policy

    def beat(self, now_s: float) -> list[Call[Any]]:
        """What this worker says every few seconds, at Redis' time ``now_s``."""
        return [
            *self.leases.renewals(now_s),
            *self.chunks.renewals(now_s),
            *self.limiter.beat(now_s),
            *self.breakers.beat(self.policy.config),
            *self.feedback.beat(),
        ]

    def caretaker(self) -> Caretaker:
        """This worker's readiness to look after what others left."""
        return Caretaker(
            self.async_store,
            reaper=Reaper(
                self.async_store,
                max_worker_lost=lambda model: self.policy.config.max_worker_lost(model),
                retention_s=self.settings.retention_s,
                observer=self.observer,
            ),
            reconciler=Reconciler(
                self.async_store,
                patience_s=self.settings.lease_s,
                chunks=ChunkReaper(
                    self.async_store,
                    max_worker_lost=lambda model: self.policy.config.max_worker_lost(model),
                    retention_s=self.settings.retention_s,
                    observer=self.observer,
                ),
            ),
            mover=Mover(self.async_store, lambda: self.policy.config),
            lease_s=self.settings.lease_s,
        )

    def _decision_log(self) -> DecisionLog | None:
        if self.settings.decision_log is None:
            return None
        sink = make_sink(self.settings.decision_log, self.store)
        return DecisionLog(sink, log_prompts=self.settings.log_prompts)

    def _build_router(self, config: RouterConfig) -> PromptRouter:
        from promptyard_worker.routing.router import PromptRouter

        return PromptRouter(config, self._services)

    def _publish(self, config: RouterConfig) -> None:
        """Tell metrics and producers the models and prices."""
        if self._client is not None:  # else this worker calls none
            self.observer.governed_by(config)
        self.store.do(fleet.put_catalog(config.catalog(), retention_s=self.settings.retention_s))

    @property
    def client(self) -> GeminiClient:
        """The Gemini client, opened on the loop."""
        if self._client is None:
            with self._lock:  # the first tasks of several threads come here together
                if self._client is None:
                    from promptyard_worker.gemini.client import GeminiClient

                    client = GeminiClient(concurrency=self.concurrency)
                    self.loop.run(client.open())
                    self._client = client
        return self._client

    def close(self) -> None:
        """Close everything; calls in flight are abandoned."""
        self.policies.close()
        if self._client is not None:
            self.loop.run(self._client.close())
        self._lent.close()
        self.observer.close()
        self.loop.run(self.async_store.close())
        self.loop.close()
        self.store.close()
