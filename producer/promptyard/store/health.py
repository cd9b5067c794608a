"""How models and routes are: breakers, pauses, quota in use, repairs."""

from __future__ import annotations

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from promptyard.names import Tier


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Breaker(_Frozen):
    """An open breaker."""

    #: ``failures``, ``daily quota`` or ``unauthenticated``.
    reason: str
    #: When it opened first.
    since: AwareDatetime
    #: When one call may try.
    open_until: AwareDatetime
    #: A call tries now, and has until then.
    probe_until: AwareDatetime | None = None

    def lets_one_try(self, now: datetime) -> bool:
        """Whether a probe could pass now."""
        return self.open_until <= now and (self.probe_until is None or self.probe_until <= now)


class QuotaUse(_Frozen):
    """What all workers together use of a model's quota."""

    #: Calls let through in the last minute; one that has been promised its time counts too.
    requests: int = 0
    #: Their input tokens: as the model counted them, or as estimated while it has not.
    tokens: int = 0
    #: Calls let through since the day of the quota began.
    day_requests: int = 0
    #: Every call waits until then, because of a 429.
    blocked_until: AwareDatetime | None = None
    #: Part of the file's requests and tokens a minute that 429s have left, as of the last call;
    #: 1: the file is right.
    request_factor: float = 1.0
    token_factor: float = 1.0
    #: Requests and tokens a minute that 429s have shown where the file names no limit.
    found_rpm: int | None = None
    found_tpm: int | None = None


class ModelHealth(_Frozen):
    """How one model of the catalog is."""

    name: str
    tier: Tier
    #: Since when it is paused.
    paused_since: AwareDatetime | None = None
    #: Since when its whole tier is.
    tier_paused_since: AwareDatetime | None = None
    #: None: calls pass.
    breaker: Breaker | None = None
    quota: QuotaUse = QuotaUse()
    #: Jobs that wait for it without a message: it is paused, or its breaker is open.
    parked: int = 0

    @property
    def well(self) -> bool:
        """Whether calls pass as far as quota lets them."""
        is_paused = self.paused_since or self.tier_paused_since
        return not (is_paused or self.breaker or self.quota.blocked_until)


class RouteCounts(_Frozen):
    """How the answers of one route did; one with many repairs or escalations is misrouted."""

    #: As in the router file; in parentheses what decided where no route did.
    name: str
    #: Jobs that were answered.
    answers: int = 0
    #: Models told what was wrong with their answer, and asked again.
    repairs: int = 0
    #: Jobs sent to a stronger model.
    escalations: int = 0
