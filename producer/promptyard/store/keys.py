"""Every Redis key of ours. Each has a TTL, or stands in PERMANENT with the reason."""

from __future__ import annotations

import hashlib
from typing import Final

from promptyard.names import KEY_PREFIX

#: Sorted set: job id -> when its lease runs out (seconds, Redis' clock).
LEASES: Final = f"{KEY_PREFIX}:leases"
#: Sorted set: job id -> when the lease of the classify chunk it is in runs out (Redis' clock).
TAKEN: Final = f"{KEY_PREFIX}:taken"
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

#: Hash: what is paused (``tier:pro``, ``model:...``) -> since when.
PAUSED: Final = f"{KEY_PREFIX}:paused"
#: Set: places where jobs are parked (``batch:...``, ``tier:...``, ``model:...``).
PARKED: Final = f"{KEY_PREFIX}:parked"
#: String: the worker that looks after what dead workers and ended pauses left, for a moment.
CARETAKER: Final = f"{KEY_PREFIX}:caretaker"
#: Hash: how the answers of each route did (``route:jobs``, ``route:repairs``, ...).
FEEDBACK: Final = f"{KEY_PREFIX}:feedback"

#: Stream: the decision log, where it is kept in Redis.
DECISIONS: Final = f"{KEY_PREFIX}:decisions"

_WAITING: Final = f"{KEY_PREFIX}:waiting:"

#: Beginnings of keys without a TTL, and why that is no leak.
PERMANENT: Final = {
    LEASES: "one member a running job; empties as jobs end, and is then gone",
    TAKEN: "one member a job that is being routed; empties as they are, and is then gone",
    _WAITING: "one member a waiting job; empties as jobs are taken, and is then gone",
    PARKED: "one member a parked job; empties as jobs go on, and is then gone",
    PAUSED: "one field a paused tier or model; a pause lasts until somebody ends it",
    FEEDBACK: "a few numbers a route of router.yaml",
    DECISIONS: "capped at about 100,000 lines",
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


def parked(place: str) -> str:
    """Sorted set: ids of jobs that wait for a place to open -> since when they do."""
    return f"{PARKED}:{place}"


def dead_letters(batch_id: str) -> str:
    """Sorted set: ids of a batch's failed jobs ('' for jobs without one) -> when they failed."""
    return f"{KEY_PREFIX}:dead:{batch_id}"


def breaker(model: str) -> str:
    """Hash: the circuit breaker of a model."""
    return f"{KEY_PREFIX}:breaker:{model}"


def quota(model: str) -> str:
    """Hash: the quota of a model in use; ``:log``, ``:slots`` and ``:line`` belong to it."""
    return f"{KEY_PREFIX}:quota:{model}"


def wake(process: str) -> str:
    """List: models of which a process has been handed a slot it waited for."""
    return f"{KEY_PREFIX}:wake:{process}"


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
