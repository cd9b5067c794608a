"""Calls that move jobs along the line up to a worker's hands; and that read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from promptyard.job import Decision, Job, JobResult
from promptyard.names import CLASSIFY_QUEUE
from promptyard.store import codec, keys, messages, records
from promptyard.store.call import Arg, Call, open_ttl_s
from promptyard.store.scripts import script


@dataclass(frozen=True)
class Receipt:
    """What submit did with one job."""

    job_id: str
    #: False: that id or idempotency key was in already.
    created: bool
    #: Input line of the record that is in.
    line: int | None


def submit(jobs: Sequence[Job], *, batch_id: str | None, retention_s: float) -> Call[list[Receipt]]:
    """Write a chunk of jobs and the messages that announce them.

    Args:
        jobs: at most CLASSIFY_CHUNK, of one priority: they travel in one classify message.
        batch_id: the batch they belong to, if any.
        retention_s: how long their records outlive them.
    """
    unrouted = [job for job in jobs if job.tier is None]
    priority = jobs[0].priority
    message = (
        messages.classify_message([job.id for job in unrouted], priority=priority)
        if unrouted
        else ""
    )
    args: list[Arg] = [
        batch_id or "",
        open_ttl_s(retention_s),
        keys.queue(CLASSIFY_QUEUE, priority),
        message,
    ]
    for job in jobs:
        args += _submit_fields(job)
    return Call(script("submit"), tuple(args), lambda reply: [_receipt(row) for row in reply])


def _submit_fields(job: Job) -> tuple[Arg, ...]:
    tier = job.tier or ""
    return (
        job.id,
        codec.encode(job.model_dump_json(exclude_defaults=True)),
        job.priority,
        job.line or "",
        keys.idempotency(job.idempotency_key) if job.idempotency_key else "",
        tier,
        job.model or "",
        job.expires_in.total_seconds() if job.expires_in else "",
        keys.queue(tier, job.priority) if tier else "",
        messages.generate_message(job.id, tier=tier, priority=job.priority) if tier else "",
    )


def _receipt(row: Sequence[Any]) -> Receipt:
    return Receipt(row[0].decode(), bool(row[1]), int(row[2]) if row[2] else None)


@dataclass(frozen=True)
class Routed:
    """A routed job, ready for dispatch."""

    job_id: str
    priority: int
    decision: Decision


def route(chunk: Sequence[Routed]) -> Call[int]:
    """Dispatch a chunk: decisions, counters and generate messages. Gives how many moved."""
    args: list[Arg] = []
    for item in chunk:
        tier = item.decision.tier
        args += (
            item.job_id,
            tier,
            item.decision.model,
            item.decision.model_dump_json(),
            keys.queue(tier, item.priority),
            messages.generate_message(item.job_id, tier=tier, priority=item.priority),
        )
    return Call(script("route"), tuple(args), int)


def reject(job_id: str, ending: records.Ending, *, retention_s: float) -> Call[bool]:
    """End a job that cannot be routed as failed."""
    return Call(script("reject"), (job_id, records.pack(ending), int(retention_s)), bool)


def cancel(job_ids: Sequence[str], *, keep_running: bool, retention_s: float) -> Call[int]:
    """Cancel jobs that have not ended, those in flight too unless kept. Gives how many."""
    return Call(script("cancel"), (int(retention_s), int(keep_running), *job_ids), int)


def time_s() -> Call[float]:
    """Redis' clock, in seconds since the epoch."""
    return Call("TIME", (), lambda reply: float(reply[0]) + float(reply[1]) / 1e6)


def job_fields(job_id: str, *fields: str) -> Call[list[bytes | None]]:
    """Some fields of a job's record."""
    return Call("HMGET", (keys.job(job_id), *fields), list)


def job_record(job_id: str) -> Call[dict[bytes, bytes]]:
    """The whole record of a job; empty if there is none."""
    return Call("HGETALL", (keys.job(job_id),), dict)


def job_result(job_id: str) -> Call[JobResult | None]:
    """The result of a job; None while it has not ended or if there is no record."""

    def decode(record: dict[bytes, bytes]) -> JobResult | None:
        if not record or not records.job_state(record).is_final:
            return None
        return records.job_result(job_id, record)

    return Call("HGETALL", (keys.job(job_id),), decode)
