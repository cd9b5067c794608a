"""A producer and a reader in threads of their own, who go on through it all as users would."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from promptyard.errors import StoreError, SubmitError
from promptyard.job import Job, JobResult
from promptyard.producer import Producer

#: How often the feeder looks whether more is wanted.
_LOOK_S: Final = 0.1


class Feeder(threading.Thread):
    """Submits batch after batch; one whose submit fails midway, again.

    Args:
        producer: submits.
        slices: the jobs of each batch.
        wants_more: whether the next batch may come.
    """

    def __init__(
        self, producer: Producer, slices: Sequence[Sequence[Job]], wants_more: Callable[[int], bool]
    ) -> None:
        super().__init__(name="feeder", daemon=True)
        self._producer = producer
        self._slices = slices
        self._wants_more = wants_more
        self._clock = threading.Event()  # never set
        #: Ids of the batches that are in, and None after the last.
        self.batches: queue.Queue[str | None] = queue.Queue()
        self.interruptions = 0

    def run(self) -> None:
        """Submit all."""
        submitted = 0
        for number, jobs in enumerate(self._slices):
            while not self._wants_more(submitted):
                self._clock.wait(_LOOK_S)
            self.batches.put(self._submit(f"chaos-{number}", jobs))
            submitted += len(jobs)
        self.batches.put(None)

    def _submit(self, batch_id: str, jobs: Sequence[Job]) -> str:
        while True:
            try:
                return self._producer.submit_batch(jobs, batch_id=batch_id).id
            except SubmitError:
                self.interruptions += 1


class Reader(threading.Thread):
    """Follows each batch; after an error it goes on behind the last result it was given.

    Args:
        producer: reads.
        batches: ids, and None after the last.
    """

    def __init__(self, producer: Producer, batches: queue.Queue[str | None]) -> None:
        super().__init__(name="reader", daemon=True)
        self._producer = producer
        self._batches = batches
        self.results: list[JobResult] = []
        self.interruptions = 0

    def run(self) -> None:
        """Read until the last batch has ended."""
        while (batch_id := self._batches.get()) is not None:
            self.results.extend(self._follow(batch_id))

    def _follow(self, batch_id: str) -> Iterator[JobResult]:
        follower = self._producer.follow(batch_id)
        while True:
            try:
                yield from follower
            except StoreError:
                self.interruptions += 1
                follower = self._producer.follow(batch_id, cursor=follower.cursor)
            else:
                return
