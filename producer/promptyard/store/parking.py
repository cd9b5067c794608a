"""Calls about jobs that wait for long, without a message: for a breaker, a pause, a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptyard.store import keys, messages
from promptyard.store.call import Arg, Call, texts
from promptyard.store.scripts import script


def batch_place(batch_id: str) -> str:
    """Where the jobs of a paused batch wait."""
    return f"batch:{batch_id}"


def tier_place(tier: str) -> str:
    """Where the jobs of a paused tier wait."""
    return f"tier:{tier}"


def model_place(model: str) -> str:
    """Where the jobs of a paused model, or of one whose breaker is open, wait."""
    return f"model:{model}"


def places() -> Call[list[str]]:
    """Where jobs are parked."""
    return Call("SMEMBERS", (keys.PARKED,), texts)


def parked_jobs(place: str, *, limit: int) -> Call[list[str]]:
    """Jobs parked in a place, those that wait longest first."""
    return Call("ZRANGE", (keys.parked(place), 0, limit - 1), texts)


def parked_count(place: str) -> Call[int]:
    """How many jobs are parked in a place."""
    return Call("ZCARD", (keys.parked(place),), int)


def parked_before(place: str, moment_s: float) -> Call[int]:
    """How many jobs have been parked in a place since before a moment (Redis' clock)."""
    return Call("ZCOUNT", (keys.parked(place), "-inf", f"({moment_s}"), int)


@dataclass(frozen=True)
class Parked:
    """A parked job, and the queue it goes on to."""

    job_id: str
    tier: str
    priority: int


def unpark(place: str, jobs: Sequence[Parked]) -> Call[int]:
    """Send parked jobs on. Gives how many were still there."""
    args: list[Arg] = [place]
    for job in jobs:
        message = messages.generate_message(job.job_id, tier=job.tier, priority=job.priority)
        queue = keys.queue(job.tier, job.priority)
        args += (job.job_id, job.tier, job.priority, queue, message)
    return Call(script("unpark"), tuple(args), int)
