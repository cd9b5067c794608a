"""Producer: how programs put prompts in and get results out.

``AsyncProducer`` (async_producer.py) is the same on an event loop. Both run the same core
(``core.py``); what differs is only how they wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Self

from promptyard.batch import Batch, BatchStatus, id_of
from promptyard.carrier import BlockingIO, iterate_blocking, run_blocking
from promptyard.catalog import Catalog
from promptyard.control import Control
from promptyard.core import OnDuplicate, ProducerCore
from promptyard.dead_letters import DeadLetters
from promptyard.follower import START, Follower
from promptyard.job import Job, JobResult
from promptyard.names import Tier
from promptyard.room import WhenFull
from promptyard.settings import Settings, chosen_url
from promptyard.store import Store
from promptyard.store.health import ModelHealth, RouteCounts
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
        self._store = Store(chosen_url(url, settings))
        self._core = ProducerCore(BlockingIO(self._store), settings)
        self._control = Control(BlockingIO(self._store))
        self._dead_letters = DeadLetters(BlockingIO(self._store), settings)

    def open_batch(
        self,
        *,
        identity: str | None = None,
        fresh: bool = False,
        metadata: Mapping[str, str] | None = None,
        max_cost_usd: float | None = None,
        when_full: WhenFull = "raise",
    ) -> str:
        """Give the id of a new batch, or of the one that has this ``identity`` already.

        Args:
            identity: what makes two runs the same (a file's content hash, say).
            fresh: start over: the identity belongs to a new batch from now on.
            metadata: kept with the batch and shown in its status.
            max_cost_usd: the batch pauses before its calls cost more, and ``resume`` takes it
                on. Another amount than it was opened with last replaces its cap.
            when_full: as ``submit`` takes it.
        """
        return run_blocking(
            self._core.open_batch(
                identity=identity,
                fresh=fresh,
                metadata=metadata,
                max_cost_usd=max_cost_usd,
                when_full=when_full,
            )
        )

    def submit(
        self, job: Job | str, *, batch_id: str | None = None, when_full: WhenFull = "raise"
    ) -> str:
        """Put in one job; returns its id.

        The id is that of an earlier job if ``idempotency_key`` says they are the same.

        Args:
            job: the job, or its prompt.
            batch_id: of the batch it belongs to, if any.
            when_full: ``raise`` if Redis has no room for new jobs, or ``wait`` until it has (a
                warning is logged).

        Raises:
            StoreFull: Redis is full; nothing is in.
            StoreError: Redis is out of reach; the same ``Job`` again is no second one.
        """
        return run_blocking(self._core.submit(job, batch_id=batch_id, when_full=when_full))

    def submit_batch(
        self,
        jobs: Iterable[Job | str],
        *,
        batch_id: str | None = None,
        on_duplicate: OnDuplicate | None = None,
        max_cost_usd: float | None = None,
        when_full: WhenFull = "raise",
    ) -> Batch:
        """Put in many jobs, streaming: memory does not grow with the iterable.

        Args:
            jobs: any iterable, also one that is longer than memory.
            batch_id: as ``open_batch`` gave it, or your own; a new batch if not given.
            on_duplicate: told of a job that another one already stands for: the same
                idempotency key, or the same id from another input line.
            max_cost_usd: as ``open_batch`` takes it.
            when_full: as ``submit`` takes it.

        Raises:
            SubmitError: it stopped midway; submitting the same jobs again completes it.
            SubmitFull: it stopped midway because Redis is full; likewise.
        """
        return run_blocking(
            self._core.submit_batch(
                jobs,
                batch_id=batch_id,
                on_duplicate=on_duplicate,
                max_cost_usd=max_cost_usd,
                when_full=when_full,
            )
        )

    def follow(
        self, batch: Batch | str, *, cursor: str = START, stop_at_budget: bool = False
    ) -> Follower:
        """Iterate over results as they land, in completion order, until all have ended.

        Args:
            batch: the batch or its id.
            cursor: ``Follower.cursor`` of an earlier follow, to go on after its last result.
            stop_at_budget: end as well when the batch has spent its budget and no call is in
                flight (``Follower.status.out_of_budget``); else it waits for a higher one.

        Raises:
            BatchNotFound: while iterating.
        """
        return Follower(self._core, str(batch), cursor, wait=True, stop_at_budget=stop_at_budget)

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

    def cancel(self, batch: Batch | str, *, keep_running: bool = False) -> int:
        """Cancel every job of the batch that has not ended; returns how many.

        Args:
            batch: the batch or its id.
            keep_running: leave calls in flight alone: they end as they will. Else they go on
                too, but their jobs are cancelled; what they cost is counted.
        """
        return run_blocking(self._core.cancel(str(batch), keep_running=keep_running))

    def cancel_job(self, job_id: str, *, keep_running: bool = False) -> bool:
        """Cancel one job; False if it had ended, does not exist, or runs and is kept."""
        return run_blocking(self._core.cancel_job(job_id, keep_running=keep_running))

    def pause(
        self,
        batch: Batch | str | None = None,
        *,
        tier: Tier | str | None = None,
        model: str | None = None,
    ) -> bool:
        """Make no more calls for a batch, or for a tier, or of a model, until ``resume``.

        Calls in flight end as they will. Jobs go on being submitted and routed; those that come
        to their call wait in Redis, without a message. False: it was paused already.

        Raises:
            BatchNotFound: no such batch.
            SettingsError: not one thing is named, or there is no such tier or model.
        """
        return run_blocking(self._control.pause(id_of(batch), tier=tier, model=model))

    def resume(
        self,
        batch: Batch | str | None = None,
        *,
        tier: Tier | str | None = None,
        model: str | None = None,
        max_cost_usd: float | None = None,
    ) -> bool:
        """End a pause; the jobs that wait go on within a second or so. False: it was not paused.

        Args:
            batch: the batch or its id, or
            tier: a tier, or
            model: a model.
            max_cost_usd: of a batch: its cap from now on.

        Raises:
            BudgetSpent: the cap leaves no room for a call; the message says what to give.
            BatchNotFound: no such batch.
            SettingsError: not one thing is named, or there is no such tier or model.
        """
        return run_blocking(
            self._control.resume(id_of(batch), tier=tier, model=model, max_cost_usd=max_cost_usd)
        )

    def failed(self, batch: Batch | str | None = None) -> Iterator[JobResult]:
        """Iterate over failed jobs of a batch, those that failed first coming first.

        Args:
            batch: the batch or its id; None: recent batches, then jobs that belong to none.

        Raises:
            BatchNotFound: while iterating.
        """
        return iterate_blocking(self._dead_letters.failed(id_of(batch)))

    def retry(
        self,
        batch: Batch | str,
        *,
        error_type: str | Iterable[str] | None = None,
        model: str | Iterable[str] | None = None,
    ) -> int:
        """Put failed jobs of a batch back to where they were routed first; returns how many.

        Their attempts stay on record but no longer count, and ``expires_in`` is lifted.

        Args:
            batch: the batch or its id.
            error_type: only jobs that failed with this type of error, or one of these.
            model: only jobs that failed on this model, or one of these.

        Raises:
            BatchNotFound: no such batch.
            SettingsError: no such error type or model; the message lists what there is.
        """
        return run_blocking(
            self._dead_letters.retry(str(batch), error_type=error_type, model=model)
        )

    def retry_job(self, job_id: str) -> bool:
        """Put back one job; False if it has not failed or does not exist."""
        return run_blocking(self._dead_letters.retry_job(job_id))

    def redeliver(self, batch: Batch | str) -> int:
        """Send the messages of waiting jobs again; returns how many jobs.

        For a batch whose workers or broker were killed. A message too many costs nothing: a
        job that has ended, or that a living worker holds, makes no call.
        """
        return run_blocking(self._core.redeliver(str(batch)))

    def catalog(self) -> Catalog | None:
        """Models and prices as the workers published them; None before the first worker."""
        return run_blocking(self._core.catalog())

    def models(self) -> list[ModelHealth]:
        """Tell how each model of the catalog is: breaker, pauses, quota in use, jobs parked."""
        return run_blocking(self._control.models())

    def routes(self) -> list[RouteCounts]:
        """Count the answers of each route, and what they took: repairs, stronger models."""
        return run_blocking(self._control.routes())

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
