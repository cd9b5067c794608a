"""Who is at work: each worker leaves a card and renews it."""

from __future__ import annotations

from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict

#: A card older than this is a worker's that died.
STALE_AFTER_S: Final = 15.0
#: The hash itself goes when no worker has renewed for this long.
CARDS_TTL_S: Final = 3600


class WorkerCard(BaseModel):
    """One live worker process."""

    # other versions leave cards too, while a yard is upgraded
    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    queues: tuple[str, ...]
    #: Tasks it runs at once.
    concurrency: int
    pid: int
    host: str
    #: Of promptyard.
    version: str
    #: Of the router file it works by.
    policy_version: str
    started: AwareDatetime
    #: When the card was last renewed, by Redis' clock.
    seen: AwareDatetime
    #: How far the clock of its host is ahead of Redis'; None: not known.
    clock_ahead_s: float | None = None
    #: How long the broker waits for a message to be acknowledged before it delivers it again.
    visibility_timeout_s: float | None = None
