"""A worker that is told to stop: calls in flight may finish, all else goes back at once."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from promptyard_worker.station import Station

log = logging.getLogger(__name__)

#: How long calls in flight may take.
DRAIN_S: Final = 60.0
#: Carries ``--drain`` through Celery's start.
VARIABLE: Final = "PROMPTYARD_DRAIN_S"


def drain_s() -> float:
    """The time of this process: ``--drain`` sets it."""
    return float(os.environ.get(VARIABLE, DRAIN_S))


async def drain(here: Station, *, for_s: float) -> None:
    """Give back what waits for quota; after so long, break off the calls that still run.

    Celery takes no message meanwhile, and its threads end as their jobs do. Routing cannot be
    broken off: what is not routed by then goes to other workers.
    """
    await here.limiter.stop()
    await asyncio.sleep(for_s)  # cut short when the last job has ended and the loop closes
    if broken_off := here.calls.break_off():
        log.warning(
            "%d calls took longer than the %g s of --drain; their jobs go back.",
            broken_off,
            for_s,
        )
    if handed_over := await here.chunks.hand_over():
        log.warning("%d jobs are not routed yet; they go to another worker.", handed_over)
