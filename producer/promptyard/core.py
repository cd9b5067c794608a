"""What a producer does, once, for both faces.

``ProducerCore`` is written with ``async def`` over an ``IO`` whose methods the faces provide.
The awaiting face runs it on its event loop. The blocking face gives it methods that never
suspend, so that each coroutine runs through in one step (``run_blocking``): one core, no
hand copies.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, TypeVar

from promptyard.batch import Batch, BatchState, BatchStatus
from promptyard.carrier import IO
from promptyard.catalog import Catalog
from promptyard.errors import BatchNotFound, JobNotFound, ResultTimeout, StoreError, SubmitError
from promptyard.job import Job, JobResult, JobState
from promptyard.names import CLASSIFY_QUEUE
from promptyard.settings import Settings
from promptyard.store import batches, fleet, jobs, waiting
from promptyard.store.call import Call
from promptyard.store.presence import STALE_AFTER_S, WorkerCard
from promptyard.windows import as_job, chunked, windows

T = TypeVar("T")


@dataclass(frozen=True)
class Duplicate:
    """A job of a submit that another job already stands for."""

    job: Job
    #: The job that is in.
    job_id: str
    #: The input line of the job that is in, if it came from one.
    line: int | None

    @property
    def by_key(self) -> bool:
        """Whether they share an idempotency key: the other's result is this one's too."""
        return self.job_id != self.job.id


OnDuplicate = Callable[[Duplicate], None]

#: Ended jobs read at once while following.
PAGE: Final = 200
#: Ids looked at in one step when a whole batch is cancelled or announced again.
SWEEP: Final = 1000
#: How long one blocking read waits before the batch's state is looked at again.
BLOCK_MS: Final = 1000
#: A wake-up can be lost with its connection, so a waiter looks for itself this often.
LOOK_AGAIN_S: Final = 5.0


@dataclass(frozen=True)
class Page:
    """Some ended jobs of a batch, each with the cursor after it."""

    items: list[tuple[str, JobResult]]
    #: Where the next page begins.
    cursor: str
    status: BatchStatus
    #: No more will come (or, without waiting, none is there now).
    done: bool


class ProducerCore:
    """Submit, follow, results, cancel over some ``IO``."""

    def __init__(self, io: IO, settings: Settings) -> None:
        self._io = io
        self._retention_s = settings.retention_s

    async def open_batch(
        self, *, identity: str | None, fresh: bool, metadata: Mapping[str, str] | None
    ) -> str:
        batch_id, _new = await self._io.do(
            self._open(str(uuid.uuid4()), identity=identity, fresh=fresh, metadata=metadata)
        )
        return batch_id

    def _open(
        self,
        proposed_id: str,
        *,
        identity: str | None = None,
        fresh: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> Call[tuple[str, bool]]:
        return batches.open_batch(
            proposed_id,
            identity=identity,
            fresh=fresh,
            metadata=metadata or {},
            retention_s=self._retention_s,
        )

    async def submit(self, job: Job | str, *, batch_id: str | None) -> str:
        if batch_id is not None:
            await self._io.do(self._open(batch_id))
        call = jobs.submit([as_job(job)], batch_id=batch_id, retention_s=self._retention_s)
        return (await self._io.do(call))[0].job_id

    async def submit_batch(
        self,
        source: Iterable[Job | str] | AsyncIterable[Job | str],
        *,
        batch_id: str | None,
        on_duplicate: OnDuplicate | None,
    ) -> Batch:
        batch_id = batch_id or str(uuid.uuid4())
        submitted = existing = 0
        try:
            await self._io.do(self._open(batch_id))
            async for window in windows(source):
                created = await self._submit_window(window, batch_id, on_duplicate)
                submitted += created
                existing += len(window) - created
            await self._io.do(batches.seal(batch_id, retention_s=self._retention_s))
        except StoreError as error:
            raise SubmitError(
                f"{error} {submitted + existing} jobs of batch {batch_id} are in; "
                f"submit the same jobs with the same ids and batch_id again to complete it.",
                batch_id=batch_id,
                submitted=submitted + existing,
            ) from error
        return Batch(id=batch_id, submitted=submitted, existing=existing)

    async def _submit_window(
        self, window: list[Job], batch_id: str, on_duplicate: OnDuplicate | None
    ) -> int:
        places = sorted(range(len(window)), key=lambda place: window[place].priority)
        chunks = chunked([window[place] for place in places])
        replies = await self._io.do_many(
            [
                jobs.submit(chunk, batch_id=batch_id, retention_s=self._retention_s)
                for chunk in chunks
            ]
        )
        receipts = [receipt for reply in replies for receipt in reply]
        # told in the order of the input, whatever their priorities
        for place, receipt in sorted(zip(places, receipts, strict=True), key=itemgetter(0)):
            job = window[place]
            # the same id from the same line is a job submitted again, and no news
            known = receipt.created or (receipt.job_id, receipt.line) == (job.id, job.line)
            if on_duplicate and not known:
                on_duplicate(Duplicate(job, receipt.job_id, receipt.line))
        return sum(receipt.created for receipt in receipts)

    async def page(self, batch_id: str, cursor: str, *, wait: bool) -> Page:
        """The next ended jobs of a batch; ``done`` when there will be no more."""
        block_ms: int | None = None
        while True:
            # the state is read before the page: if all had ended by then, all were in the
            # stream by then too, and an empty page is the end
            status = await self.status(batch_id)
            entries = await self._io.do(
                batches.results_page(batch_id, cursor, count=PAGE, block_ms=block_ms)
            )
            if entries:
                return Page(await self._read(entries), entries[-1][0], status, done=False)
            if not wait or status.state is BatchState.DONE:
                return Page([], cursor, status, done=True)
            block_ms = BLOCK_MS

    async def _read(self, entries: list[tuple[str, str]]) -> list[tuple[str, JobResult]]:
        results = await self._io.do_many([jobs.job_result(job_id) for _, job_id in entries])
        return [
            (cursor, result)
            for (cursor, _), result in zip(entries, results, strict=True)
            if result is not None  # None: its retention has passed
        ]

    async def result(self, job_id: str, *, timeout_s: float | None) -> JobResult:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        signal = await self._io.signal(job_id)
        try:
            while True:
                # subscribed first, looked second: an end between the two is seen either way
                record = await self._io.do(jobs.job_fields(job_id, "state"))
                if record[0] is None:
                    raise JobNotFound(
                        f"No job {job_id}: the id is wrong, or its retention has passed."
                    )
                if JobState(record[0].decode()).is_final:
                    result = await self._io.do(jobs.job_result(job_id))
                    if result is not None:
                        return result
                left = LOOK_AGAIN_S if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    raise ResultTimeout(
                        f"Job {job_id} is {record[0].decode()} after {timeout_s:g} s. Ask again "
                        f"later, or see `promptyard doctor` for queues without a worker."
                    )
                await signal.wait(min(left, LOOK_AGAIN_S))
        finally:
            await signal.close()

    async def status(self, batch_id: str) -> BatchStatus:
        status = await self._io.do(batches.batch_status(batch_id))
        if status is None:
            raise BatchNotFound(
                f"No batch {batch_id}: the id is wrong, or its retention has passed. "
                f"`promptyard status` lists the batches there are."
            )
        return status

    async def batches(self, limit: int) -> list[BatchStatus]:
        ids = await self._io.do(batches.batch_ids(limit))
        found = await self._io.do_many([batches.batch_status(batch_id) for batch_id in ids])
        return [status for status in found if status is not None]

    async def cancel(self, batch_id: str) -> int:
        await self.status(batch_id)
        cancelled = 0
        async for ids in self._sweep(batch_id):
            cancelled += await self._io.do(jobs.cancel(ids, retention_s=self._retention_s))
        return cancelled

    async def cancel_job(self, job_id: str) -> bool:
        cancelled = await self._io.do(jobs.cancel([job_id], retention_s=self._retention_s))
        return cancelled > 0

    async def redeliver(self, batch_id: str) -> int:
        """Announce again what waits: a killed broker or worker may have lost the messages."""
        announced = 0
        async for ids in self._sweep(batch_id):
            fields = await self._io.do_many(
                [jobs.job_fields(job_id, "state", "tier", "priority") for job_id in ids]
            )
            calls = [
                call
                for (queue, priority), names in _waiting_places(ids, fields).items()
                for call in waiting.announcements(queue, priority, names, cutoff_s=math.inf)
            ]
            announced += sum(await self._io.do_many(calls), 0)
        return announced

    async def _sweep(self, batch_id: str) -> AsyncIterator[list[str]]:
        start = 0
        while ids := await self._io.do(batches.batch_jobs(batch_id, start, SWEEP)):
            yield ids
            start += len(ids)

    async def catalog(self) -> Catalog | None:
        return await self._io.do(fleet.catalog())

    async def workers(self) -> list[WorkerCard]:
        now = await self._io.do(jobs.time_s())
        cards = await self._io.do(fleet.cards())
        return [card for card in cards if now - card.seen.timestamp() < STALE_AFTER_S]


def _waiting_places(
    ids: list[str], fields: list[list[bytes | None]]
) -> dict[tuple[str, int], list[str]]:
    """Where the jobs wait, if they do: (queue, priority) -> ids."""
    places: dict[tuple[str, int], list[str]] = {}
    for job_id, (state, tier, priority) in zip(ids, fields, strict=True):
        queue = CLASSIFY_QUEUE if state == b"accepted" else (tier or b"").decode()
        if state in (b"accepted", b"routed"):
            places.setdefault((queue, int(priority or 0)), []).append(job_id)
    return places
