"""AsyncProducer: as ``Producer``, awaited."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import Self

from promptyard.batch import Batch, BatchStatus, id_of
from promptyard.carrier import AwaitingIO
from promptyard.catalog import Catalog
from promptyard.control import Control
from promptyard.core import OnDuplicate, ProducerCore
from promptyard.dead_letters import DeadLetters
from promptyard.follower import START, AsyncFollower
from promptyard.job import Job, JobResult
from promptyard.names import Tier
from promptyard.room import WhenFull
from promptyard.settings import Settings, chosen_url
from promptyard.store import AsyncStore
from promptyard.store.health import ModelHealth, RouteCounts
from promptyard.store.presence import WorkerCard


class AsyncProducer:
    """Puts prompts in and gets results out, on an event loop. As ``Producer``, awaited."""

    def __init__(self, url: str | None = None, *, settings: Settings | None = None) -> None:
        settings = settings or Settings.from_env()
        self._store = AsyncStore(chosen_url(url, settings))
        self._core = ProducerCore(AwaitingIO(self._store), settings)
        self._control = Control(AwaitingIO(self._store))
        self._dead_letters = DeadLetters(AwaitingIO(self._store), settings)

    async def open_batch(
        self,
        *,
        identity: str | None = None,
        fresh: bool = False,
        metadata: Mapping[str, str] | None = None,
        max_cost_usd: float | None = None,
        when_full: WhenFull = "raise",
    ) -> str:
        """As ``Producer.open_batch``."""
        return await self._core.open_batch(
            identity=identity,
            fresh=fresh,
            metadata=metadata,
            max_cost_usd=max_cost_usd,
            when_full=when_full,
        )

    async def submit(
        self, job: Job | str, *, batch_id: str | None = None, when_full: WhenFull = "raise"
    ) -> str:
        """As ``Producer.submit``."""
        return await self._core.submit(job, batch_id=batch_id, when_full=when_full)

    async def submit_batch(
        self,
        jobs: Iterable[Job | str] | AsyncIterable[Job | str],
        *,
        batch_id: str | None = None,
        on_duplicate: OnDuplicate | None = None,
        max_cost_usd: float | None = None,
        when_full: WhenFull = "raise",
    ) -> Batch:
        """As ``Producer.submit_batch``; takes asynchronous iterables too."""
        return await self._core.submit_batch(
            jobs,
            batch_id=batch_id,
            on_duplicate=on_duplicate,
            max_cost_usd=max_cost_usd,
            when_full=when_full,
        )

    def follow(
        self, batch: Batch | str, *, cursor: str = START, stop_at_budget: bool = False
    ) -> AsyncFollower:
        """As ``Producer.follow``, for ``async for``."""
        return AsyncFollower(
            self._core, str(batch), cursor, wait=True, stop_at_budget=stop_at_budget
        )

    def results(self, batch: Batch | str) -> AsyncFollower:
        """As ``Producer.results``, for ``async for``."""
        return AsyncFollower(self._core, str(batch), START, wait=False)

    async def result(self, job_id: str, *, timeout: float | None = None) -> JobResult:  # noqa: ASYNC109 - as the blocking face
        """As ``Producer.result``."""
        return await self._core.result(job_id, timeout_s=timeout)

    async def status(self, batch: Batch | str) -> BatchStatus:
        """As ``Producer.status``."""
        return await self._core.status(str(batch))

    async def batches(self, limit: int = 50) -> list[BatchStatus]:
        """As ``Producer.batches``."""
        return await self._core.batches(limit)

    async def cancel(self, batch: Batch | str, *, keep_running: bool = False) -> int:
        """As ``Producer.cancel``."""
        return await self._core.cancel(str(batch), keep_running=keep_running)

    async def cancel_job(self, job_id: str, *, keep_running: bool = False) -> bool:
        """As ``Producer.cancel_job``."""
        return await self._core.cancel_job(job_id, keep_running=keep_running)

    async def pause(
        self,
        batch: Batch | str | None = None,
        *,
        tier: Tier | str | None = None,
        model: str | None = None,
    ) -> bool:
        """As ``Producer.pause``."""
        return await self._control.pause(id_of(batch), tier=tier, model=model)

    async def resume(
        self,
        batch: Batch | str | None = None,
        *,
        tier: Tier | str | None = None,
        model: str | None = None,
        max_cost_usd: float | None = None,
    ) -> bool:
        """As ``Producer.resume``."""
        return await self._control.resume(
            id_of(batch), tier=tier, model=model, max_cost_usd=max_cost_usd
        )

    def failed(self, batch: Batch | str | None = None) -> AsyncIterator[JobResult]:
        """As ``Producer.failed``, for ``async for``."""
        return self._dead_letters.failed(id_of(batch))

    async def retry(
        self,
        batch: Batch | str,
        *,
        error_type: str | Iterable[str] | None = None,
        model: str | Iterable[str] | None = None,
    ) -> int:
        """As ``Producer.retry``."""
        return await self._dead_letters.retry(str(batch), error_type=error_type, model=model)

    async def retry_job(self, job_id: str) -> bool:
        """As ``Producer.retry_job``."""
        return await self._dead_letters.retry_job(job_id)

    async def redeliver(self, batch: Batch | str) -> int:
        """As ``Producer.redeliver``."""
        return await self._core.redeliver(str(batch))

    async def catalog(self) -> Catalog | None:
        """As ``Producer.catalog``."""
        return await self._core.catalog()

    async def models(self) -> list[ModelHealth]:
        """As ``Producer.models``."""
        return await self._control.models()

    async def routes(self) -> list[RouteCounts]:
        """As ``Producer.routes``."""
        return await self._control.routes()

    async def workers(self) -> list[WorkerCard]:
        """As ``Producer.workers``."""
        return await self._core.workers()

    async def close(self) -> None:
        """Close the connections."""
        await self._store.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
