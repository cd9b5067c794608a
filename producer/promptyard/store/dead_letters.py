"""Calls about dead letters: jobs that failed, kept until their retention has passed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import zstandard
from pydantic import ValidationError

from promptyard.job import Decision, ErrorType, Job, JobState
from promptyard.names import CLASSIFY_QUEUE, Tier
from promptyard.store import codec, keys, messages, records
from promptyard.store.call import Arg, Call, open_ttl_s, scored
from promptyard.store.scripts import script

#: What ``letter`` reads; not the request, which may be megabytes of pictures.
_FIELDS: Final = ("state", "finished", "priority", "model", "decision", "attempts", "answer")


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A failed job: how it failed, and what it takes to put it back."""

    job_id: str
    #: When it failed, as the record has it: one failure is told from the next by this.
    failed: str
    error_type: ErrorType | None
    #: The model it failed on; empty if it came to none.
    model: str
    priority: int
    attempts: int
    #: Why it went where it went first; None if it never went anywhere, or chose by itself.
    decision: Decision | None


@dataclass(frozen=True, kw_only=True)
class Revival:
    """A failed job, and where it goes on."""

    letter: Letter
    #: None: it is classified.
    tier: Tier | None = None
    #: None: the tier's own.
    model: str | None = None

    @property
    def priority(self) -> int:
        """The job's."""
        return self.letter.priority


def dead_ids(
    batch_id: str, since_s: float, until_s: float, *, limit: int
) -> Call[list[tuple[str, float]]]:
    """Failed jobs of a batch ('' for those without one), in order: (job id, when it failed)."""
    key = keys.dead_letters(batch_id)
    args = (key, since_s, until_s, "WITHSCORES", "LIMIT", 0, limit)
    return Call("ZRANGEBYSCORE", args, scored)


def letter(job_id: str) -> Call[Letter | None]:
    """A failed job; None if it has moved on, or its retention has passed."""
    return Call("HMGET", (keys.job(job_id), *_FIELDS), lambda reply: _letter(job_id, reply))


def own_place(letter: Letter) -> Call[Revival]:
    """Where a job goes that has no decision: as it says itself, else to be classified."""
    return Call("HGET", (keys.job(letter.job_id), "request"), lambda body: _own(letter, body))


def revive(revivals: Sequence[Revival], *, retention_s: float) -> Call[int]:
    """Put failed jobs back. Gives how many still were as they had been looked at.

    Args:
        revivals: at most CLASSIFY_CHUNK, of one priority: they may travel in one message.
        retention_s: how long records outlive their jobs.
    """
    priority = revivals[0].priority
    unrouted = [one.letter.job_id for one in revivals if one.tier is None]
    message = messages.classify_message(unrouted, priority=priority) if unrouted else ""
    args: list[Arg] = [open_ttl_s(retention_s), keys.queue(CLASSIFY_QUEUE, priority), message]
    for one in revivals:
        args += _revive_fields(one)
    return Call(script("revive"), tuple(args), int)


def _revive_fields(one: Revival) -> tuple[Arg, ...]:
    job_id, tier, priority = one.letter.job_id, one.tier or "", one.priority
    return (
        job_id,
        one.letter.failed,
        one.letter.attempts,
        tier,
        one.model or "",
        keys.queue(tier, priority) if tier else "",
        messages.generate_message(job_id, tier=tier, priority=priority) if tier else "",
    )


def _letter(job_id: str, reply: Sequence[bytes | None]) -> Letter | None:
    state, failed, priority, model, decision, attempts, answer = reply
    if state != JobState.FAILED.encode() or failed is None:
        return None
    ending = _ending(answer)
    return Letter(
        job_id=job_id,
        failed=failed.decode(),
        error_type=ending.error.type if ending.error else None,
        model=ending.model or (model or b"").decode(),
        priority=int(priority or 0),
        attempts=_count(attempts),
        decision=_decision(decision),
    )


# A damaged record must not keep the others of its batch where they are: what cannot be read of it
# is left out, and the next station that needs it says so on the record.


def _ending(answer: bytes | None) -> records.Ending:
    try:
        return records.Ending.model_validate_json(codec.decode(answer or b""))
    except (ValidationError, zstandard.ZstdError):
        return records.Ending()


def _count(attempts: bytes | None) -> int:
    try:
        return len(records.decode_attempts(attempts or b""))
    except ValidationError:
        return 0


def _decision(body: bytes | None) -> Decision | None:
    try:
        return Decision.model_validate_json(body) if body else None
    except ValidationError:
        return None


def _own(letter: Letter, body: bytes | None) -> Revival:
    try:
        job = Job.model_validate_json(codec.decode(body or b""))
    except (ValidationError, zstandard.ZstdError):
        return Revival(letter=letter)
    return Revival(letter=letter, tier=job.tier, model=job.model)
