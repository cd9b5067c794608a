"""One run of a file: a thread submits, a thread follows and writes, the caller watches.

Memory does not grow with the file: jobs stream in, results stream out. Both threads ride out
a Redis that restarts; what they do is idempotent, so they simply do it again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from promptyard.batch import BatchStatus
from promptyard.cli.tally import Tally
from promptyard.core import Duplicate
from promptyard.errors import ResultTimeout, StoreError, StoreFull
from promptyard.follower import START
from promptyard.formats.jsonl import BadLine, read_jobs
from promptyard.formats.results import ResultWriter
from promptyard.job import Job, Usage
from promptyard.producer import Producer
from promptyard.room import WhenFull

#: How long Redis may be away before a run gives up (it can be continued later).
_PATIENCE_S: Final = 60.0
_RETRY_AFTER_S: Final = 0.5
_JOIN_S: Final = 0.3
_LOOK_EVERY_S: Final = 1.0


class _Abandoned(Exception):
    """The run was stopped; its threads wind up."""


class BatchRun:
    """Submits a file's jobs to a batch and writes their results, until all have ended."""

    def __init__(
        self,
        producer: Producer,
        batch_id: str,
        *,
        source: Path,
        writer: ResultWriter,
        tally: Tally,
        when_full: WhenFull = "raise",
    ) -> None:
        self.batch_id = batch_id
        self.writer = writer
        self.tally = tally
        #: Every line of the input is submitted.
        self.all_in = False
        #: The batch, if it has spent its budget, so that this is all for now.
        self.stopped_at: BatchStatus | None = None
        self._producer = producer
        self._source = source
        self._when_full = when_full
        self._cursor = START
        #: Highest line counted; lines up to it were counted before an interruption.
        self._counted_line = 0
        #: Highest line reported as a duplicate; likewise.
        self._reported_duplicate = 0
        #: Lines whose idempotency key another job holds: its result is theirs.
        self._shared: list[Duplicate] = []
        self._errors: list[BaseException] = []
        self._abandoned = threading.Event()
        self._threads = [
            threading.Thread(target=self._guard, args=(work,), name=name, daemon=True)
            for name, work in (("submit", self._submit), ("follow", self._follow))
        ]

    def start(self) -> None:
        """Start both threads."""
        for thread in self._threads:
            thread.start()

    @property
    def done(self) -> bool:
        """Whether every result is written.

        Raises:
            PromptyardError: what stopped one of the threads.
        """
        if self._errors:
            raise self._errors[0]
        return not any(thread.is_alive() for thread in self._threads)

    @property
    def unanswered(self) -> int:
        """Lines whose result is another job's, which has none yet."""
        return len(self._shared)

    def abandon(self) -> None:
        """Stop submitting and following; jobs that are in stay in."""
        self._abandoned.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(_JOIN_S)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            self._patiently(work)
        except _Abandoned:
            pass
        except BaseException as error:  # raised again where the run is watched
            self._errors.append(error)

    def _patiently(self, work: Callable[[], None]) -> None:
        """Do the work; if Redis goes away, again, until it has been away for too long."""
        progress: object = None
        give_up_s = 0.0
        while True:
            try:
                return work()
            except StoreFull:
                raise  # no minute's wait helps; who wants a longer one has said so
            except StoreError:
                if progress != (self._counted_line, self._cursor):  # it was back in between
                    progress = (self._counted_line, self._cursor)
                    give_up_s = time.monotonic() + _PATIENCE_S
                if self._abandoned.wait(_RETRY_AFTER_S) or time.monotonic() > give_up_s:
                    raise

    def _submit(self) -> None:
        if self._producer.status(self.batch_id).open:
            self._producer.redeliver(self.batch_id)
        self._producer.submit_batch(
            self._jobs(),
            batch_id=self.batch_id,
            on_duplicate=self._on_duplicate,
            when_full=self._when_full,
        )
        self.all_in = True

    def _jobs(self) -> Iterator[Job]:
        for item in read_jobs(self._source, batch_id=self.batch_id):
            self._stop_if_abandoned()
            new = (item.line or 0) > self._counted_line
            if new:
                self._counted_line = item.line or 0
                self.tally.add_line()
            if isinstance(item, Job):
                yield item
            elif new:
                self._report(item)

    def _on_duplicate(self, duplicate: Duplicate) -> None:
        number = duplicate.job.line or 0
        if number <= self._reported_duplicate:  # lines come in order; this one is told
            return
        self._reported_duplicate = number
        if duplicate.by_key:
            self._shared.append(duplicate)
        else:
            self._report(BadLine.of_duplicate(duplicate.job, duplicate.line))

    def _report(self, bad: BadLine) -> None:
        self.tally.add_bad_line(bad)
        self.writer.write(bad.as_result(self.batch_id))

    def _follow(self) -> None:
        while True:
            all_in = self.all_in  # first: the counters that come after it are of every job
            status = self._write_results()
            if status is None or not status.out_of_budget:
                return self._write_shared()
            if all_in:
                self.stopped_at = status
                return None
            self._abandoned.wait(_LOOK_EVERY_S)
            self._stop_if_abandoned()

    def _write_results(self) -> BatchStatus | None:
        """Write what ends, until the batch is done or stands still for its budget."""
        results = self._producer.follow(self.batch_id, cursor=self._cursor, stop_at_budget=True)
        for result in results:
            self.writer.write(result)
            self.tally.add_result(result)
            self._cursor = results.cursor
            self._stop_if_abandoned()
        return results.status

    def _write_shared(self) -> None:
        """Write the lines that other jobs answer; the batch is closed, so all are known."""
        while self._shared:
            duplicate = self._shared[0]
            self._stop_if_abandoned()
            try:
                result = self._producer.result(duplicate.job_id, timeout=_LOOK_EVERY_S)
            except ResultTimeout:
                continue
            job = duplicate.job
            shared = result.model_copy(
                update={
                    "custom_id": job.custom_id,
                    "line": job.line,
                    "batch_id": self.batch_id,
                    "metadata": job.metadata,
                    # called and paid for once, and that is on the other's record
                    "attempts": (),
                    "usage": Usage(),
                    "cost_usd": 0.0,
                }
            )
            self.writer.write(shared)
            self.tally.add_result(shared)
            del self._shared[0]

    def _stop_if_abandoned(self) -> None:
        if self._abandoned.is_set():
            raise _Abandoned
