"""Producer and AsyncProducer: how programs put prompts in and get results out.

Both run the same core (``core.py``); what differs is only how they wait.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Self

from promptyard.batch import Batch, BatchStatus
from promptyard.carrier import AwaitingIO, BlockingIO, run_blocking
from promptyard.catalog import Catalog
from promptyard.core import OnDuplicate, ProducerCore
from promptyard.errors import SettingsError
from promptyard.follower import START, AsyncFollower, Follower
from promptyard.job import Job, JobResult
from promptyard.settings import Settings, checked_url
from promptyard.store import AsyncStore, Store
from promptyard.store.presence import WorkerCard


class Producer:
    """Puts prompts in and gets results out; blocks while it waits. Safe to share by threads.

    Args:
        url: Redis or Valkey; ``REDIS_URL`` if not given.
        settings: read from the environment if not given.

    Raises:
        SettingsError: no URL was given in either way.
    """

    def __init__(self, url: str | None = None, *, settings: Settings | None = None) -> None:
        settings = settings or Settings.from_env()
        self._store = Store(_url(url, settings))
        self._core = ProducerCore(BlockingIO(self._store), settings)

    def open_batch(
        self,
        *,
        identity: str | None = None,
        fresh: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """Give the id of a new batch, or of the one that has this ``identity`` already.

        Args:
            identity: what makes two runs the same (a file's content hash, say).
            fresh: start over: the identity belongs to a new batch from now on.
            metadata: kept with the batch and shown in its status.
        """
        return run_blocking(
            self._core.open_batch(identity=identity, fresh=fresh, metadata=metadata)
        )

    def submit(self, job: Job | str, *, batch_id: str | None = None) -> str:
        """Put in one job; returns its id.

        The id is that of an earlier job if ``idempotency_key`` says they are the same.

        Raises:
            StoreError: Redis is out of reach, or full; nothing is lost by trying again.
        """
        return run_blocking(self._core.submit(job, batch_id=batch_id))

    def submit_batch(
        self,
        jobs: Iterable[Job | str],
        *,
        batch_id: str | None = None,
        on_duplicate: OnDuplicate | None = None,
    ) -> Batch:
        """Put in many jobs, streaming: memory does not grow with the iterable.

        Args:
            jobs: any iterable, also one that is longer than memory.
            batch_id: as ``open_batch`` gave it, or your own; a new batch if not given.
            on_duplicate: told of a job that another one already stands for: the same
                idempotency key, or the same id from another input line.

        Raises:
            SubmitError: it stopped midway; submitting the same jobs again completes it.
        """
        return run_blocking(
            self._core.submit_batch(jobs, batch_id=batch_id, on_duplicate=on_duplicate)
        )

    def follow(self, batch: Batch | str, *, cursor: str = START) -> Follower:
        """Iterate over results as they land, in completion order, until all have ended.

        Args:
            batch: the batch or its id.
            cursor: ``Follower.cursor`` of an earlier follow, to go on after its last result.

        Raises:
            BatchNotFound: while iterating.
        """
        return Follower(self._core, str(batch), cursor, wait=True)

    def results(self, batch: Batch | str) -> Follower:
        """Iterate over the results there are by now, without waiting for more."""
        return Follower(self._core, str(batch), START, wait=False)

    def result(self, job_id: str, *, timeout: float | None = None) -> JobResult:
        """Wait for the result of one job.

        Args:
            job_id: as ``submit`` gave it.
            timeout: seconds to wait at most; None waits for ever, 0 only looks.

        Raises:
            ResultTimeout: it has not ended in time.
            JobNotFound: no such job.
        """
        return run_blocking(self._core.result(job_id, timeout_s=timeout))

    def status(self, batch: Batch | str) -> BatchStatus:
        """Count a batch's jobs by state and tier, tokens and cost.

        Raises:
            BatchNotFound: no such batch.
        """
        return run_blocking(self._core.status(str(batch)))

    def batches(self, limit: int = 50) -> list[BatchStatus]:
        """List recent batches, newest first."""
        return run_blocking(self._core.batches(limit))

    def cancel(self, batch: Batch | str) -> int:
        """Cancel every job of the batch that has not ended; returns how many.

        A call in flight goes on, but its answer is not recorded.
        """
        return run_blocking(self._core.cancel(str(batch)))

    def cancel_job(self, job_id: str) -> bool:
        """Cancel one job; False if it had ended or does not exist."""
        return run_blocking(self._core.cancel_job(job_id))

    def redeliver(self, batch: Batch | str) -> int:
        """Send the messages of waiting jobs again; returns how many jobs.

        For a batch whose workers or broker were killed. A message too many costs nothing: a
        job that has ended, or that a living worker holds, makes no call.
        """
        return run_blocking(self._core.redeliver(str(batch)))

    def catalog(self) -> Catalog | None:
        """Models and prices as the workers published them; None before the first worker."""
        return run_blocking(self._core.catalog())

    def workers(self) -> list[WorkerCard]:
        """List the workers alive now."""
        return run_blocking(self._core.workers())

    def close(self) -> None:
        """Close the connections."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncProducer:
    """Puts prompts in and gets results out, on an event loop. As ``Producer``, awaited."""

    def __init__(self, url: str | None = None, *, settings: Settings | None = None) -> None:
        settings = settings or Settings.from_env()
        self._store = AsyncStore(_url(url, settings))
        self._core = ProducerCore(AwaitingIO(self._store), settings)

    async def open_batch(
        self,
        *,
        identity: str | None = None,
        fresh: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """As ``Producer.open_batch``."""
        return await self._core.open_batch(identity=identity, fresh=fresh, metadata=metadata)

    async def submit(self, job: Job | str, *, batch_id: str | None = None) -> str:
        """As ``Producer.submit``."""
        return await self._core.submit(job, batch_id=batch_id)

    async def submit_batch(
        self,
        jobs: Iterable[Job | str] | AsyncIterable[Job | str],
        *,
        batch_id: str | None = None,
        on_duplicate: OnDuplicate | None = None,
    ) -> Batch:
        """As ``Producer.submit_batch``; takes asynchronous iterables too."""
        return await self._core.submit_batch(jobs, batch_id=batch_id, on_duplicate=on_duplicate)

    def follow(self, batch: Batch | str, *, cursor: str = START) -> AsyncFollower:
        """As ``Producer.follow``, for ``async for``."""
        return AsyncFollower(self._core, str(batch), cursor, wait=True)

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

    async def cancel(self, batch: Batch | str) -> int:
        """As ``Producer.cancel``."""
        return await self._core.cancel(str(batch))

    async def cancel_job(self, job_id: str) -> bool:
        """As ``Producer.cancel_job``."""
        return await self._core.cancel_job(job_id)

    async def redeliver(self, batch: Batch | str) -> int:
        """As ``Producer.redeliver``."""
        return await self._core.redeliver(str(batch))

    async def catalog(self) -> Catalog | None:
        """As ``Producer.catalog``."""
        return await self._core.catalog()

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


def _url(url: str | None, settings: Settings) -> str:
    if url is None and settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
    if url is None:
        raise SettingsError("No Redis is named: set REDIS_URL, or give Producer a url.")
    return checked_url(url)
