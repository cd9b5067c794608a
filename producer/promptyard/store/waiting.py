"""Calls about jobs that wait for a message to be taken, and messages that got lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from promptyard.names import CLASSIFY_CHUNK, CLASSIFY_QUEUE
from promptyard.store import keys, messages
from promptyard.store.call import Call
from promptyard.store.scripts import script


def waiting_before(
    queue: str, priority: int, cutoff_s: float, *, limit: int
) -> Call[list[tuple[str, float]]]:
    """Jobs that wait since before the cutoff, the longest first: (job id, since when)."""
    bounds = (keys.waiting(queue, priority), "-inf", f"({cutoff_s}")
    return Call("ZRANGEBYSCORE", (*bounds, "WITHSCORES", "LIMIT", 0, limit), _scored)


def next_job(queue: str, priority: int) -> Call[str | None]:
    """The (first) job of the message that is taken next; None if the queue is empty."""
    # kombu takes from the right end
    return Call(
        "LINDEX",
        (keys.queue(queue, priority), -1),
        lambda message: messages.first_job(message) if message else None,
    )


def waits_since(queue: str, priority: int, job_id: str) -> Call[float | None]:
    """Since when a job waits; None if it does not."""
    return Call(
        "ZSCORE",
        (keys.waiting(queue, priority), job_id),
        lambda score: None if score is None else float(score),
    )


def postpone(queue: str, priority: int, job_id: str, due_s: float) -> Call[int]:
    """Have a job that still waits wait as if from then on: its message comes at that time."""
    return Call("ZADD", (keys.waiting(queue, priority), "XX", "GT", due_s, job_id), int)


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


def _scored(reply: Sequence[Any]) -> list[tuple[str, float]]:
    members, scores = reply[::2], reply[1::2]
    return [(member.decode(), float(score)) for member, score in zip(members, scores, strict=True)]
