"""What the calls of late were like, read off the jobs that ended last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from promptyard.batch import BatchStatus
from promptyard.job import Attempt
from promptyard.store import Store, batches, jobs, records

#: Batches looked at, the newest first, and jobs of each.
_BATCHES: Final = 5
_JOBS: Final = 200


@dataclass(frozen=True)
class Observed:
    """The answered calls of one model."""

    calls: int
    mean_s: float
    mean_input_tokens: float


def observed_calls(store: Store, recent: Sequence[BatchStatus]) -> dict[str, Observed]:
    """By model; reading it off the records costs the workers nothing.

    Raises:
        StoreError: Redis is out of reach.
    """
    begun = [batch.id for batch in recent if batch.finished][:_BATCHES]
    pages = store.do_many([batches.last_results(batch_id, count=_JOBS) for batch_id in begun])
    ids = [job_id for page in pages for job_id in page]
    fields = store.do_many([jobs.job_fields(job_id, "attempts") for job_id in ids])
    by_model: dict[str, list[Attempt]] = {}
    for (attempts,) in fields:
        for attempt in records.decode_attempts(attempts or b""):
            if attempt.error is None:
                by_model.setdefault(attempt.model, []).append(attempt)
    return {model: _observed(calls) for model, calls in by_model.items()}


def _observed(calls: Sequence[Attempt]) -> Observed:
    number = len(calls)
    return Observed(
        calls=number,
        mean_s=sum(call.duration_s for call in calls) / number,
        mean_input_tokens=sum(call.usage.prompt_tokens for call in calls) / number,
    )
