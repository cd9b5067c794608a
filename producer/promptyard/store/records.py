"""What a job's hash holds, and how it becomes a JobResult."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import zstandard
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from promptyard.job import (
    Attempt,
    Decision,
    ErrorType,
    Job,
    JobError,
    JobResult,
    JobState,
    Timings,
    Usage,
)
from promptyard.names import Tier
from promptyard.store import codec

_ATTEMPTS = TypeAdapter(tuple[Attempt, ...])

#: Errors of states that the store itself gives.
_STATE_ERRORS = {
    JobState.CANCELLED: JobError(
        type=ErrorType.CANCELLED, message="Cancelled by the producer before it had ended."
    ),
    JobState.EXPIRED: JobError(
        type=ErrorType.EXPIRED, message="Not started within the job's expires_in."
    ),
}


class Ending(BaseModel):
    """What a worker records when a job ends: an answer or an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    text: str | None = None
    parsed: Any = None
    model: str | None = None
    model_version: str | None = None
    error: JobError | None = None


def pack(ending: Ending) -> bytes:
    """An ending as the record's ``answer`` holds it."""
    return codec.encode(ending.model_dump_json(exclude_defaults=True))


def moment(value: bytes | str | float) -> datetime:
    """A time as the scripts write it (seconds since the epoch), as a datetime."""
    return datetime.fromtimestamp(float(value), UTC)


def decode_attempts(value: bytes) -> tuple[Attempt, ...]:
    """The attempts field: JSON objects joined by commas, so that scripts can append."""
    return _ATTEMPTS.validate_json(b"[" + value + b"]") if value else ()


def job_state(record: Mapping[bytes, bytes]) -> JobState:
    """The state of a record."""
    return JobState(record[b"state"].decode())


def unreadable(error: Exception) -> str:
    """Why a record cannot be read, without its values: they may be the prompt."""
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_context=False, include_input=False)
        places = [f"{'.'.join(map(str, item['loc'])) or 'record'}: {item['msg']}" for item in found]
        return "; ".join(places[:3])
    return type(error).__name__


def job_result(job_id: str, record: Mapping[bytes, bytes]) -> JobResult:
    """Build the result of an ended job from its hash.

    A damaged record gives a result that says so: it must not hide the others of its batch.
    """
    try:
        return _whole_result(job_id, record)
    except (ValidationError, zstandard.ZstdError, KeyError, ValueError) as error:
        message = f"The record of job {job_id} cannot be read: {unreadable(error)}."
        return JobResult(
            id=job_id,
            batch_id=record.get(b"batch", b"").decode() or None,
            status=job_state(record),
            error=JobError(type=ErrorType.INTERNAL, message=message),
        )


def _whole_result(job_id: str, record: Mapping[bytes, bytes]) -> JobResult:
    job = Job.model_validate_json(codec.decode(record[b"request"]))
    state = job_state(record)
    ending = (
        Ending.model_validate_json(codec.decode(record[b"answer"]))
        if b"answer" in record
        else Ending(error=_STATE_ERRORS.get(state))
    )
    decision = record.get(b"decision")
    attempts = decode_attempts(record.get(b"attempts", b""))
    return JobResult(
        id=job_id,
        custom_id=job.custom_id,
        batch_id=record[b"batch"].decode() or None,
        line=job.line,
        status=state,
        text=ending.text,
        parsed=ending.parsed,
        tier=Tier(record[b"tier"].decode()) if b"tier" in record else None,
        model=ending.model or record.get(b"model", b"").decode() or None,
        model_version=ending.model_version,
        decision=Decision.model_validate_json(decision) if decision else None,
        attempts=attempts,
        usage=Usage.total(attempt.usage for attempt in attempts),
        cost_usd=sum(attempt.cost_usd for attempt in attempts),
        timings=_timings(record, attempts),
        error=ending.error,
        metadata=job.metadata,
    )


def _timings(record: Mapping[bytes, bytes], attempts: tuple[Attempt, ...]) -> Timings:
    def at(field: bytes) -> datetime | None:
        return moment(record[field]) if field in record else None

    return Timings(
        accepted=moment(record[b"accepted"]),
        routed=at(b"routed"),
        started=attempts[0].started if attempts else None,
        finished=moment(record[b"finished"]),
    )
