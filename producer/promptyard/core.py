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
from promptyard.control import checked_cap, no_such_batch
from promptyard.errors import JobNotFound, ResultTimeout, StoreError
from promptyard.job import Job, JobResult, JobState
from promptyard.names import CLASSIFY_QUEUE
from promptyard.room import Room, WhenFull, stopped
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
#: Ids looked at in one step when a whole batch is announced again.
SWEEP: Final = 1000
#: Likewise when it is cancelled, and how many of them one script ends. A script of 250 blocks Redis
#: for 4 ms, and of what is sent in one go Redis serves much before it looks at others.
CANCEL_SWEEP: Final = 500
CANCEL_AT_ONCE: Final = 250
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
        self,
        *,
        identity: str | None,
        fresh: bool,
        metadata: Mapping[str, str] | None,
        max_cost_usd: float | None,
        when_full: WhenFull,
    ) -> str:
        call = self._open(
            str(uuid.uuid4()),
            identity=identity,
            fresh=fresh,
            metadata=metadata,
            max_cost_usd=max_cost_usd,
        )
        ((batch_id, _new),) = await Room(self._io, when_full).let_in([call])
        return batch_id

    def _open(
        self,
        proposed_id: str,
        *,
        identity: str | None = None,
        fresh: bool = False,
        metadata: Mapping[str, str] | None = None,
        max_cost_usd: float | None = None,
    ) -> Call[tuple[str, bool]]:
        return batches.open_batch(
            proposed_id,
            identity=identity,
            fresh=fresh,
            metadata=metadata or {},
            max_cost_usd=checked_cap(max_cost_usd),
            retention_s=self._retention_s,
        )

    async def submit(self, job: Job | str, *, batch_id: str | None, when_full: WhenFull) -> str:
        room = Room(self._io, when_full)
        if batch_id is not None:
            await room.let_in([self._open(batch_id)])
        call = jobs.submit([as_job(job)], batch_id=batch_id, retention_s=self._retention_s)
        ((receipt,),) = await room.let_in([call])
        return receipt.job_id

    async def submit_batch(
        self,
        source: Iterable[Job | str] | AsyncIterable[Job | str],
        *,
        batch_id: str | None,
        on_duplicate: OnDuplicate | None,
        max_cost_usd: float | None,
        when_full: WhenFull,
    ) -> Batch:
        room = Room(self._io, when_full)
        batch_id = batch_id or str(uuid.uuid4())
        submitted = existing = 0
        try:
            await room.let_in([self._open(batch_id, max_cost_usd=max_cost_usd)])
            async for window in windows(source):
                created = await self._submit_window(window, batch_id, on_duplicate, room)
                submitted += created
                existing += len(window) - created
            await self._io.do(batches.seal(batch_id, retention_s=self._retention_s))
        except StoreError as error:
            raise stopped(error, batch_id=batch_id, submitted=submitted + existing) from error
        return Batch(id=batch_id, submitted=submitted, existing=existing)

    async def _submit_window(
        self, window: list[Job], batch_id: str, on_duplicate: OnDuplicate | None, room: Room
    ) -> int:
        places = sorted(range(len(window)), key=lambda place: window[place].priority)
        chunks = chunked([window[place] for place in places])
        replies = await room.let_in(
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

    async def page(
        self, batch_id: str, cursor: str, *, wait: bool, stop_at_budget: bool = False
    ) -> Page:
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
            ended = status.state is BatchState.DONE or (stop_at_budget and status.out_of_budget)
            if ended or not wait:
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
            raise no_such_batch(batch_id)
        return status

    async def batches(self, limit: int) -> list[BatchStatus]:
        ids = await self._io.do(batches.batch_ids(limit))
        found = await self._io.do_many([batches.batch_status(batch_id) for batch_id in ids])
        return [status for status in found if status is not None]

    async def cancel(self, batch_id: str, *, keep_running: bool) -> int:
        await self.status(batch_id)
        cancelled = 0
        async for ids in self._sweep(batch_id, CANCEL_SWEEP):
            calls: list[Call[int]] = [
                jobs.cancel(
                    ids[start : start + CANCEL_AT_ONCE],
                    keep_running=keep_running,
                    retention_s=self._retention_s,
                )
                for start in range(0, len(ids), CANCEL_AT_ONCE)
            ]
            cancelled += sum(await self._io.do_many(calls), 0)
        return cancelled

    async def cancel_job(self, job_id: str, *, keep_running: bool) -> bool:
        cancelled = await self._io.do(
            jobs.cancel([job_id], keep_running=keep_running, retention_s=self._retention_s)
        )
        return cancelled > 0

    async def redeliver(self, batch_id: str) -> int:
        """Announce again what waits: a killed broker or worker may have lost the messages."""
        announced = 0
        async for ids in self._sweep(batch_id, SWEEP):
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

    async def _sweep(self, batch_id: str, size: int) -> AsyncIterator[list[str]]:
        start = 0
        while ids := await self._io.do(batches.batch_jobs(batch_id, start, size)):
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
