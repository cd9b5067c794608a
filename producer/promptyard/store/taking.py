"""Calls about jobs in a classify worker's hands: take, give back, and the lease of a chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from promptyard.names import CLASSIFY_QUEUE
from promptyard.store import keys, messages, records
from promptyard.store.call import Call, texts
from promptyard.store.scripts import script

_TAKEN: Final = 1
_ALONE: Final = 2


@dataclass(frozen=True)
class Hand:
    """What a worker has in hand after it took a chunk; jobs that have moved on are in neither."""

    #: Job id -> the Job as ``codec`` packed it; a damaged one must end its job alone.
    requests: dict[str, bytes]
    #: Jobs with which a worker was lost: each is to be taken with nothing else in hand.
    suspects: list[str]


def take(job_ids: Sequence[str], token: str, *, lease_s: float, alone: bool) -> Call[Hand]:
    """Take a chunk into hand.

    Args:
        job_ids: its jobs.
        token: who takes them; the same one again gets the same jobs.
        lease_s: how long they stay in hand without ``renew``.
        alone: whether the worker has nothing else in hand.
    """

    def decode(reply: Sequence[Any]) -> Hand:
        rows = list(zip(job_ids, reply[::2], reply[1::2], strict=True))
        return Hand(
            {job_id: request for job_id, verdict, request in rows if verdict == _TAKEN},
            [job_id for job_id, verdict, _ in rows if verdict == _ALONE],
        )

    return Call(script("take"), (token, lease_s, int(alone), *job_ids), decode)


def give_back(job_ids: Sequence[str], token: str, *, delay_s: float) -> Call[int]:
    """Give back what is in hand still; the caller's message comes after the delay."""
    return Call(script("give_back"), (token, delay_s, "", "", *job_ids), int)


def hand_over(job_ids: Sequence[str], token: str, *, priority: int) -> Call[int]:
    """Give back what is in hand still, and send it to another worker at once."""
    queue = keys.queue(CLASSIFY_QUEUE, priority)
    message = messages.classify_message(job_ids, priority=priority)
    return Call(script("give_back"), (token, 0, queue, message, *job_ids), int)


def recover(
    job_id: str,
    *,
    priority: int,
    max_worker_lost: int,
    poison: records.Ending,
    retention_s: float,
) -> Call[int]:
    """Put back a job whose lease has run out. Gives 1; 2: it ended as poison; 0: neither.

    Args:
        job_id: the job.
        priority: its priority.
        max_worker_lost: this many lost workers make it poison.
        poison: how it ends then.
        retention_s: how long its record outlives it.
    """
    args = (
        job_id,
        keys.queue(CLASSIFY_QUEUE, priority),
        messages.classify_message([job_id], priority=priority),
        max_worker_lost,
        records.pack(poison),
        int(retention_s),
    )
    return Call(script("recover"), args, int)


def renew(job_ids: Sequence[str], until_s: float) -> Call[int]:
    """Move the leases of jobs in hand on, as ``running.renew``."""
    pairs = [item for job_id in job_ids for item in (until_s, job_id)]
    return Call("ZADD", (keys.TAKEN, "XX", "GT", *pairs), int)


def leases_run_out(now_s: float, *, limit: int) -> Call[list[str]]:
    """Ids of jobs in hand whose lease has run out."""
    args = (keys.TAKEN, "-inf", now_s, "LIMIT", 0, limit)
    return Call("ZRANGEBYSCORE", args, texts)
