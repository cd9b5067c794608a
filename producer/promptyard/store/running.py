"""Calls about a job in a worker's hands: claim, record, release, requeue, and its lease."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from promptyard.job import Attempt, Decision, JobState
from promptyard.names import Tier
from promptyard.store import keys, messages, records
from promptyard.store.call import Arg, Call, texts
from promptyard.store.scripts import script

_NANO: Final = 1e9


@dataclass(frozen=True)
class Claim:
    """A lease on a job, or why there is none."""

    #: run | gone | ended | leased | waiting | parked | expired
    verdict: str
    #: The Job as ``codec`` packed it; unpacked by the holder of the lease, since a damaged
    #: one must end its job.
    request: bytes = b""
    tier: str = ""
    model: str = ""
    decision: bytes = b""
    attempts: bytes = b""
    #: So many attempts, the first ones, no longer count.
    pardoned: int = 0
    #: Since when it has been held up by models that are down; None if it is not.
    held_up_since_s: float | None = None
    batch_id: str | None = None
    #: When it came in and when its tier was chosen (seconds since the epoch, Redis' clock).
    accepted_s: float = 0.0
    routed_s: float | None = None


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
    request, tier, model, decision, attempts, pardoned, since, batch, accepted, routed = fields
    return (
        request,
        tier.decode(),
        model.decode(),
        decision,
        attempts,
        int(pardoned or 0),
        float(since) if since else None,
        batch.decode() or None,
        float(accepted),
        float(routed) if routed else None,
    )


def record(
    job_id: str,
    token: str,
    ending: records.Ending,
    *,
    state: JobState = JobState.SUCCEEDED,
    attempts: Sequence[Attempt] = (),
    decision: Decision | None = None,
    retention_s: float,
) -> Call[bool]:
    """End a running job. False: the lease was lost; what the calls were billed is counted.

    ``decision`` is given where classify had none to make (the job named its tier).
    """
    return Call(
        script("record"),
        (
            job_id,
            token,
            state,
            records.pack(ending),
            _joined(attempts),
            int(retention_s),
            *_bill(attempts),
            decision.model_dump_json() if decision else "",
        ),
        bool,
    )


class Why(StrEnum):
    """Why a running job is given back."""

    #: Nothing came of it, and nothing was tried: no call was made, or its worker is stopping.
    NOTHING = ""
    RETRY = "retry"
    FALLBACK = "fallback"
    #: To a stronger model, because the answer was not good enough.
    ESCALATION = "escalation"


@dataclass(frozen=True, kw_only=True)
class Release:
    """Where a running job goes on, and how."""

    tier: Tier
    model: str
    #: The calls made since it was claimed.
    attempts: Sequence[Attempt] = ()
    why: Why = Why.NOTHING
    delay_s: float = 0.0
    #: So many attempts, the first ones, no longer count.
    pardoned: int | None = None
    #: Where it is parked; None: it goes to its queue.
    place: str | None = None
    #: Whether it waits because models are down: one day that is enough.
    outage: bool = False
    #: Whether the script sends the message; else the caller does, due in ``delay_s``.
    send: bool = False


def release(job_id: str, token: str, to: Release, *, priority: int) -> Call[bool]:
    """Give a running job back. False: the lease was lost."""
    queue = keys.queue(to.tier, priority)
    message = messages.generate_message(job_id, tier=to.tier, priority=priority) if to.send else ""
    args: tuple[Arg, ...] = (
        job_id,
        token,
        to.tier,
        to.model,
        _joined(to.attempts),
        to.why,
        to.delay_s,
        *_bill(to.attempts),
        "" if to.pardoned is None else to.pardoned,
        to.place or "",
        int(to.outage),
        queue,
        message,
    )
    return Call(script("release"), args, bool)


def requeue(
    job_id: str,
    *,
    tier: str,
    priority: int,
    attempt: Attempt,
    max_worker_lost: int,
    poison: records.Ending,
    retention_s: float,
) -> Call[int]:
    """Put back a running job whose lease has run out. Gives 1; 2: it ended as poison; 0: neither.

    Args:
        job_id: the job.
        tier: its queue.
        priority: its priority.
        attempt: the call that was lost.
        max_worker_lost: this many lost workers make it poison.
        poison: how it ends then.
        retention_s: how long its record outlives it.
    """
    args = (
        job_id,
        attempt.model_dump_json(),
        keys.queue(tier, priority),
        messages.generate_message(job_id, tier=tier, priority=priority),
        max_worker_lost,
        records.pack(poison),
        int(retention_s),
    )
    return Call(script("requeue"), args, int)


def renew(job_ids: Sequence[str], until_s: float) -> Call[int]:
    """Move the leases of running jobs on; one that was taken away stays away.

    Never back: what a machine sent before it was cut off arrives when it is back, and the job may
    be in other hands by then.
    """
    pairs = [item for job_id in job_ids for item in (until_s, job_id)]
    return Call("ZADD", (keys.LEASES, "XX", "GT", *pairs), int)


def leases_run_out(now_s: float, *, limit: int) -> Call[list[str]]:
    """Ids of running jobs whose lease has run out."""
    args = (keys.LEASES, "-inf", now_s, "LIMIT", 0, limit)
    return Call("ZRANGEBYSCORE", args, texts)


def _joined(attempts: Sequence[Attempt]) -> str:
    """As ``records.decode_attempts`` reads them."""
    return ",".join(attempt.model_dump_json(exclude_defaults=True) for attempt in attempts)


def _bill(attempts: Sequence[Attempt]) -> tuple[int, ...]:
    """What the calls were billed, as ``BILL`` in lib.lua names it."""
    usages = [attempt.usage for attempt in attempts]
    return (
        round(sum(attempt.cost_usd for attempt in attempts) * _NANO),
        sum(usage.prompt_tokens for usage in usages),
        sum(usage.output_tokens for usage in usages),
        sum(usage.thinking_tokens for usage in usages),
        sum(usage.cached_tokens for usage in usages),
    )
