"""Every Redis key of ours. Each has a TTL, or stands in PERMANENT with the reason."""

from __future__ import annotations

import hashlib
from typing import Final

from promptyard.names import KEY_PREFIX

#: Sorted set: job id -> when its lease runs out (seconds, Redis' clock).
LEASES: Final = f"{KEY_PREFIX}:leases"
#: Sorted set: batch id -> when it was opened.
BATCHES: Final = f"{KEY_PREFIX}:batches"
#: The workers' models and prices, JSON.
CATALOG: Final = f"{KEY_PREFIX}:catalog"
#: Hash: worker name -> card, JSON.
WORKERS: Final = f"{KEY_PREFIX}:workers"
#: Sorted set: call id -> when the judge was allowed it, for the last minute (Redis' clock).
JUDGE_CALLS: Final = f"{KEY_PREFIX}:judge:calls"
#: Sorted set: payment id -> when it was put on the bill, for the last minutes (Redis' clock).
JUDGE_PAYMENTS: Final = f"{KEY_PREFIX}:judge:payments"
#: Beginning of the keys of the judge's bills; the day follows.
JUDGE_BILL: Final = f"{KEY_PREFIX}:judge:bill:"

_WAITING: Final = f"{KEY_PREFIX}:waiting:"

#: Beginnings of keys without a TTL, and why that is no leak.
PERMANENT: Final = {
    LEASES: "one member a running job; empties as jobs end, and is then gone",
    _WAITING: "one member a waiting job; empties as jobs are taken, and is then gone",
}


def is_permanent(key: str) -> bool:
    """Whether the key may be without a TTL."""
    return key.startswith(tuple(PERMANENT))


def waiting(queue: str, priority: int) -> str:
    """Sorted set: job id -> since when it waits for its message to be taken (Redis' clock)."""
    return f"{_WAITING}{queue}:{priority}"


def job(job_id: str) -> str:
    """Hash: the record of one job."""
    return f"{KEY_PREFIX}:job:{job_id}"


def batch(batch_id: str) -> str:
    """Hash: the counters of one batch."""
    return f"{KEY_PREFIX}:batch:{batch_id}"


def batch_jobs(batch_id: str) -> str:
    """List: the batch's job ids in submission order."""
    return f"{KEY_PREFIX}:batch:{batch_id}:jobs"


def batch_results(batch_id: str) -> str:
    """Stream: one entry per ended job, in completion order."""
    return f"{KEY_PREFIX}:batch:{batch_id}:results"


def done_channel(job_id: str) -> str:
    """Channel on which the end of one job is told."""
    return f"{KEY_PREFIX}:done:{job_id}"


def idempotency(key: str) -> str:
    """String: the job id that holds an idempotency key (hashed: keys may be long or private)."""
    return f"{KEY_PREFIX}:idempotency:{_digest(key)}"


def identity(name: str) -> str:
    """String: the batch id of a run's identity."""
    return f"{KEY_PREFIX}:identity:{_digest(name)}"


def judge_bill(day: int) -> str:
    """String: what the judge cost on a UTC day (days since 1970), in billionths of a dollar."""
    return f"{JUDGE_BILL}{day}"


def queue(name: str, priority: int) -> str:
    """List: kombu's key of a queue at a priority.

    Source: ``Channel._q_for_pri`` in kombu/transport/redis.py (5.7), with
    ``priority_steps`` 0 to 9; tests/integration/test_wire.py holds it to that.
    """
    return f"{queue_prefix(name)}{priority}" if priority else name


def queue_prefix(name: str) -> str:
    """What the priority is appended to."""
    return f"{name}\x06\x16"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
