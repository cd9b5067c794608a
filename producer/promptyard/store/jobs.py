"""Calls that move jobs along the line: submit, route, claim, record, release, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from promptyard.job import Attempt, Decision, Job, JobResult, JobState
from promptyard.names import CLASSIFY_QUEUE, Tier
from promptyard.store import codec, keys, messages, records
from promptyard.store.call import Arg, Call, open_ttl_s, texts
from promptyard.store.scripts import script

_NANO: Final = 1e9


@dataclass(frozen=True)
class Receipt:
    """What submit did with one job."""

    job_id: str
    #: False: that id or idempotency key was in already.
    created: bool
    #: Input line of the record that is in.
    line: int | None


@dataclass(frozen=True)
class Claim:
    """A lease on a job, or why there is none."""

    #: run | gone | ended | leased | waiting | expired
    verdict: str
    #: The Job as ``codec`` packed it; unpacked by the holder of the lease, since a damaged
    #: one must end its job.
    request: bytes = b""
    tier: str = ""
    model: str = ""
    decision: bytes = b""
    attempts: bytes = b""


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
    return Call(script("reject"), (job_id, _pack(ending), int(retention_s)), bool)


def claim(job_id: str, token: str, *, lease_s: float, retention_s: float) -> Call[Claim]:
    """Take the lease of a job."""
    return Call(
        script("claim"),
        (job_id, token, lease_s, int(retention_s)),
        lambda reply: Claim(reply[0].decode(), *_claim_fields(reply[1:])),
    )


def _claim_fields(fields: Sequence[bytes]) -> Sequence[Any]:
    if not fields:
        return ()
    request, tier, model, decision, attempts = fields
    return request, tier.decode(), model.decode(), decision, attempts


def record(
    job_id: str,
    token: str,
    ending: records.Ending,
    *,
    state: JobState = JobState.SUCCEEDED,
    attempt: Attempt | None,
    decision: Decision | None = None,
    retention_s: float,
) -> Call[bool]:
    """End a running job. False: the lease was lost, nothing was written.

    ``decision`` is given where classify had none to make (the job named its tier).
    """
    usage = ending.usage
    return Call(
        script("record"),
        (
            job_id,
            token,
            state,
            _pack(ending),
            attempt.model_dump_json() if attempt else "",
            int(retention_s),
            round(ending.cost_usd * _NANO),
            usage.prompt_tokens,
            usage.output_tokens,
            usage.thinking_tokens,
            usage.cached_tokens,
            decision.model_dump_json() if decision else "",
        ),
        bool,
    )


def fail(
    job_id: str,
    token: str,
    ending: records.Ending,
    *,
    attempt: Attempt | None,
    decision: Decision | None = None,
    retention_s: float,
) -> Call[bool]:
    """End a running job as failed. False: the lease was lost, nothing was written."""
    return record(
        job_id,
        token,
        ending,
        state=JobState.FAILED,
        attempt=attempt,
        decision=decision,
        retention_s=retention_s,
    )


def release(
    job_id: str,
    token: str,
    *,
    tier: Tier,
    model: str,
    attempt: Attempt,
    fallback: bool,
    delay_s: float,
) -> Call[bool]:
    """Give a running job back for another attempt. False: the lease was lost.

    The caller sends the message, due in ``delay_s``.
    """
    args = (job_id, token, tier, model, attempt.model_dump_json(), int(fallback), delay_s)
    return Call(script("release"), args, bool)


def requeue(job_id: str, *, tier: str, priority: int, attempt: Attempt) -> Call[bool]:
    """Put back a running job whose lease has run out. False: it was not so."""
    return Call(
        script("requeue"),
        (
            job_id,
            attempt.model_dump_json(),
            keys.queue(tier, priority),
            messages.generate_message(job_id, tier=tier, priority=priority),
        ),
        bool,
    )


def cancel(job_ids: Sequence[str], *, retention_s: float) -> Call[int]:
    """Cancel jobs that have not ended. Gives how many."""
    return Call(script("cancel"), (int(retention_s), *job_ids), int)


def renew(job_ids: Sequence[str], until_s: float) -> Call[int]:
    """Move the leases of running jobs; one that was taken away stays away."""
    pairs = [item for job_id in job_ids for item in (until_s, job_id)]
    return Call("ZADD", (keys.LEASES, "XX", *pairs), int)


def leases_run_out(now_s: float, *, limit: int) -> Call[list[str]]:
    """Ids of running jobs whose lease has run out."""
    args = (keys.LEASES, "-inf", now_s, "LIMIT", 0, limit)
    return Call("ZRANGEBYSCORE", args, texts)


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


def _pack(ending: records.Ending) -> bytes:
    return codec.encode(ending.model_dump_json(exclude_defaults=True))
