"""A batch: many jobs submitted together, counted together, followed together."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from promptyard.job import FINAL_STATES, JobState, Usage
from promptyard.names import Tier


class BatchState(StrEnum):
    """Where a batch is."""

    #: Its producer is still adding jobs (or died while doing so).
    OPEN = "open"
    #: Every job is in; some have not ended.
    RUNNING = "running"
    #: No call is made until somebody resumes it (``BatchStatus.paused`` says why).
    PAUSED = "paused"
    #: Every job has ended.
    DONE = "done"


class Pause(StrEnum):
    """Why a batch is paused."""

    #: Somebody paused it.
    USER = "user"
    #: What it has spent and the next call together may cost more than ``max_cost_usd``.
    BUDGET = "budget"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Batch(_Frozen):
    """The handle a caller holds after ``submit_batch``."""

    id: str
    #: Jobs written by this submit.
    submitted: int
    #: Jobs that were already in (same id or idempotency key); and those that this submit told
    #: twice, because a connection broke before Redis could answer.
    existing: int = 0

    def __str__(self) -> str:
        return self.id


def id_of(batch: Batch | str | None) -> str | None:
    """The id of a batch that is given by its handle or by its id."""
    return None if batch is None else str(batch)


class TierProgress(_Frozen):
    """How far one tier is."""

    #: Jobs of the batch now assigned to the tier, ended ones included.
    routed: int = 0
    #: Those that have ended.
    finished: int = 0


class BatchStatus(_Frozen):
    """Counters of a batch, moved by the same scripts that move its jobs."""

    id: str
    state: BatchState
    paused: Pause | None = None
    total: int
    counts: dict[JobState, int]
    tiers: dict[Tier, TierProgress]
    #: Calls that failed and were tried again.
    retries: int = 0
    #: Retries that went to another model.
    fallbacks: int = 0
    #: Retries that went to a stronger model, because the answer was not good enough.
    escalations: int = 0
    #: Failed jobs that ``retry`` put back, each as often as it did.
    revived: int = 0
    usage: Usage = Usage()
    cost_usd: float = 0.0
    #: The batch pauses before it costs more; None: it has no cap.
    max_cost_usd: float | None = None
    #: What its calls in flight may cost; counted where there is a cap.
    held_usd: float = 0.0
    #: What the call may cost that did not fit, while it is paused for its budget.
    short_usd: float = 0.0
    created: AwareDatetime
    #: Of promptyard, where the batch was opened; None: before versions were noted.
    version: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)

    @property
    def finished(self) -> int:
        """Jobs that have ended, in whatever way."""
        return sum(self.counts.get(state, 0) for state in FINAL_STATES)

    @property
    def out_of_budget(self) -> bool:
        """Whether it stands still until it is given a higher cap: no call is in flight either."""
        return self.paused is Pause.BUDGET and not self.held_usd

    @property
    def open(self) -> int:
        """Jobs that have not ended."""
        return self.total - self.finished
