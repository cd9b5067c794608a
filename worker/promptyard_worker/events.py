"""Celery's events, which Flower reads, go out in bunches.

Celery sends what has gathered as soon as its loop turns, and every event of a thread wakes the
loop. With three events a job that is a PUBLISH and a wake-up for nearly each: 0.55 ms of CPU a job,
a quarter of a worker's. Whoever watches does not mind a quarter of a second.
"""

from __future__ import annotations

from typing import Any, Final

from celery import bootsteps
from celery.worker.consumer.events import Events

#: How long events gather.
GATHER_S: Final = 0.25
#: So many go out at once, whoever has the last one.
MOST: Final = 500


class GatherEvents(bootsteps.StartStopStep):
    """Takes over when events are sent."""

    requires = (Events,)

    def start(self, parent: Any) -> None:
        """Keep them; at every new connection."""
        if parent.event_dispatcher and parent.hub:
            parent.event_dispatcher.on_send_buffered = None
            parent.event_dispatcher.buffer_limit = MOST

    def register_with_event_loop(self, parent: Any, hub: Any) -> None:
        """Send them from time to time; Celery ends the timer with the connection."""
        hub.call_repeatedly(GATHER_S, _flush, parent)

    def stop(self, parent: Any) -> None:
        """Send the last ones."""
        _flush(parent)


def _flush(consumer: Any) -> None:
    if consumer.event_dispatcher:
        consumer.event_dispatcher.flush()
