"""Calls about jobs that wait for a message to be taken, and messages that got lost."""

from __future__ import annotations

from collections.abc import Sequence

from promptyard.names import CLASSIFY_CHUNK, CLASSIFY_QUEUE
from promptyard.store import keys, messages
from promptyard.store.call import Call, texts
from promptyard.store.scripts import script


def waiting_before(queue: str, priority: int, cutoff_s: float, *, limit: int) -> Call[list[str]]:
    """Jobs that wait since before the cutoff, the longest first."""
    bounds = (keys.waiting(queue, priority), "-inf", f"({cutoff_s}")
    return Call("ZRANGEBYSCORE", (*bounds, "LIMIT", 0, limit), texts)


def oldest_since(queue: str, priority: int) -> Call[float | None]:
    """Since when the job that waits longest does (Redis' clock); None if none waits."""
    bounds = (keys.waiting(queue, priority), 0, 0, "WITHSCORES")
    return Call("ZRANGE", bounds, lambda reply: float(reply[1]) if reply else None)


def waiting_count(queue: str, priority: int) -> Call[int]:
    """How many jobs wait to be taken."""
    return Call("ZCARD", (keys.waiting(queue, priority),), int)


def next_job(queue: str, priority: int) -> Call[str | None]:
    """The (first) job of the message that is taken next; None if the queue is empty."""
    # kombu takes from the right end
    return Call(
        "LINDEX",
        (keys.queue(queue, priority), -1),
        lambda message: messages.first_job(message) if message else None,
    )


def next_jobs(queue: str, priority: int, *, limit: int) -> Call[list[str]]:
    """The (first) job of each of the messages that are taken next."""
    return Call(
        "LRANGE",
        (keys.queue(queue, priority), -limit, -1),
        lambda found: [job_id for job_id in map(messages.first_job, found) if job_id],
    )


def waits_since(queue: str, priority: int, job_ids: Sequence[str]) -> Call[list[float | None]]:
    """Since when each job waits; None if it does not."""
    return Call(
        "ZMSCORE",
        (keys.waiting(queue, priority), *job_ids),
        lambda scores: [None if score is None else float(score) for score in scores],
    )


def announcements(
    queue: str, priority: int, job_ids: Sequence[str], *, cutoff_s: float
) -> list[Call[int]]:
    """Send messages again, for the jobs that still wait since before the cutoff.

    Each call gives how many of its jobs did. A message too many costs nothing: claims see to it.
    """
    size = CLASSIFY_CHUNK if queue == CLASSIFY_QUEUE else 1
    return [
        announce_again(queue, priority, job_ids[start : start + size], cutoff_s=cutoff_s)
        for start in range(0, len(job_ids), size)
    ]


def announce_again(
    queue: str, priority: int, job_ids: Sequence[str], *, cutoff_s: float
) -> Call[int]:
    """One message of ``announcements``: a classify chunk, or a single job for a tier."""
    message = (
        messages.classify_message(job_ids, priority=priority)
        if queue == CLASSIFY_QUEUE
        else messages.generate_message(job_ids[0], tier=queue, priority=priority)
    )
    place = (queue, priority, cutoff_s, keys.queue(queue, priority))
    return Call(script("announce"), (*place, message, *job_ids), int)
