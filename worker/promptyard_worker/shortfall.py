"""A call that brought nothing its job can use: why, and what the model said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptyard.job import ErrorType, Job, JobError
from promptyard_worker.gemini.schema import problems
from promptyard_worker.gemini.taxonomy import CallFailure

if TYPE_CHECKING:
    from promptyard_worker.gemini.answer import Answer


@dataclass(frozen=True)
class Shortfall:
    """A call that brought nothing the job can use."""

    failure: CallFailure
    #: What the model said, if it said anything.
    answer: Answer | None = None

    @property
    def text(self) -> str:
        """The text of the answer."""
        return (self.answer.text if self.answer else None) or ""


def found_wanting(job: Job, answer: Answer) -> CallFailure | None:
    """Why an answer is none that the job can use; None if it is one."""
    if answer.error is not None:
        return CallFailure(error=answer.error, retryable=False)
    schema = job.response_schema
    if schema is None or not (found := problems(schema, answer.parsed)):
        return None
    message = f"The answer does not meet response_schema: {'; '.join(found)}"
    error = JobError(type=ErrorType.SCHEMA_MISMATCH, message=message)
    return CallFailure(error=error, retryable=False)


def interrupted() -> CallFailure:
    """A call that was broken off because its worker ends."""
    message = "The worker was told to stop, and the call took longer than it could wait."
    return CallFailure(error=JobError(type=ErrorType.WORKER_LOST, message=message), retryable=True)
