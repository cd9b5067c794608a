"""What ``admit`` says when a call may not be made: the job, the pauses, the breaker, the day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import redis

from promptyard.job import JobState
from promptyard.producer import Producer
from promptyard.store import Store, breakers, jobs, keys, pauses, quota
from promptyard.store.breakers import BreakerRule
from promptyard.store.quota import Ask, Reply, Verdict
from tests.integration.quota_line import MODEL, RETENTION_S, Line, limits

RULE = BreakerRule(window_s=30, failure_rate=0.5, min_calls=1, open_s=5, max_open_s=60)
SLOTS = f"{keys.quota(MODEL)}:slots"


def cancel(store: Store, raw: redis.Redis, ask: Ask) -> None:
    """The job is cancelled."""
    store.do(jobs.cancel([ask.job_id], keep_running=False, retention_s=RETENTION_S))


def take_over(store: Store, raw: redis.Redis, ask: Ask) -> None:
    """The reaper has put the job back, and another worker holds it."""
    raw.hset(keys.job(ask.job_id), "lease", "of another")


def pass_deadline(store: Store, raw: redis.Redis, ask: Ask) -> None:
    """The job's time is up."""
    raw.hset(keys.job(ask.job_id), "deadline", 1)


def pause_tier(store: Store, raw: redis.Redis, ask: Ask) -> None:
    """The tier is paused."""
    store.do(pauses.pause("tier:lite"))


def pause_model(store: Store, raw: redis.Redis, ask: Ask) -> None:
    """The model is paused."""
    store.do(pauses.pause(f"model:{MODEL}"))


def pause_batch(store: Store, raw: redis.Redis, ask: Ask) -> None:
    """The batch is paused."""
    store.do(pauses.pause("batch:b"))


def trip(store: Store, raw: redis.Redis, ask: Ask) -> None:
    """The model's breaker opens."""
    store.do(breakers.trip([MODEL], reason="failures", for_s=60))


REFUSED = pytest.mark.parametrize(
    ("happens", "reply"),
    [
        (cancel, Reply(Verdict.GONE)),
        (take_over, Reply(Verdict.GONE)),
        (pass_deadline, Reply(Verdict.EXPIRED)),
        (pause_tier, Reply(Verdict.PAUSED, detail="tier:lite")),
        (pause_model, Reply(Verdict.PAUSED, detail=f"model:{MODEL}")),
        (pause_batch, Reply(Verdict.PAUSED, detail="batch:b")),
        (trip, Reply(Verdict.OPEN, detail="failures")),
    ],
)
Happening = Callable[[Store, redis.Redis, Ask], None]


@REFUSED
def test_what_may_not_be_called_takes_nothing(
    store: Store, raw: redis.Redis, happens: Happening, reply: Reply
) -> None:
    """No request, no tokens, no slot; who comes behind is answered in the same step."""
    line = Line(store, limits(rpm=1, max_concurrency=1))
    (ask,) = line.new_asks(batch_id="b")
    happens(store, raw, ask)
    assert line.ask(ask) == [reply]
    assert (line.use()["req"], line.use()["day_used"], raw.zcard(SLOTS)) == (0, 0, 0)


@REFUSED
def test_a_grant_that_may_not_be_used_is_taken_back(
    store: Store, raw: redis.Redis, happens: Happening, reply: Reply
) -> None:
    """It was for later, and meanwhile something happened: its place and its slot are free."""
    line = Line(store, limits(rpm=1, max_concurrency=2))
    line.one()
    ask, later = line.one(batch_id="b")
    assert later.verdict is Verdict.AT
    assert (line.use()["day_used"], raw.zcard(SLOTS)) == (2, 2)
    happens(store, raw, ask)
    assert line.ask(ask) == [reply]
    assert (line.use()["req"], line.use()["day_used"], raw.zcard(SLOTS)) == (0, 1, 1)
    assert raw.hget(keys.job(ask.job_id), "grant") is None


def test_a_job_that_has_begun_does_not_expire(store: Store, raw: redis.Redis) -> None:
    """A call was made, in this hand or in an earlier one: the rest may take its time."""
    line = Line(store, limits())
    ask, earlier = line.new_asks([1, 1])
    for one in (ask, earlier):
        pass_deadline(store, raw, one)
    raw.hset(keys.job(earlier.job_id), "attempts", "{}")
    replies = line.ask(replace(ask, started=True), earlier)
    assert [reply.verdict for reply in replies] == [Verdict.GO, Verdict.GO]


def test_an_expired_job_has_ended(producer: Producer, store: Store, raw: redis.Redis) -> None:
    """State, counters and record say so."""
    batch = producer.open_batch()
    line = Line(store, limits())
    (ask,) = line.new_asks(batch_id=batch)
    pass_deadline(store, raw, ask)
    line.ask(ask)
    assert producer.result(ask.job_id, timeout=0).status is JobState.EXPIRED
    assert producer.status(batch).counts[JobState.EXPIRED] == 1


def test_one_call_at_a_time_tries_a_broken_model(store: Store, raw: redis.Redis) -> None:
    """When the breaker's time is up; the others go on waiting until it is known how that went."""
    line = Line(store, limits())
    first, second = line.new_asks([1, 1])
    store.do(breakers.trip([MODEL], reason="failures", for_s=-1))
    probe, shut = line.ask(first, second)
    assert (probe.verdict, probe.probe) == (Verdict.GO, True)
    assert (shut.verdict, shut.detail) == (Verdict.OPEN, "failures")
    assert line.ask(first)[0].probe, "asked again, it is the same probe"
    store.do(breakers.report(MODEL, RULE, bad=1, probe=first.job_id))
    assert line.ask(second)[0].verdict is Verdict.OPEN
    raw.hset(keys.breaker(MODEL), "open_until", 1)
    assert line.ask(second)[0].probe
    store.do(breakers.report(MODEL, RULE, good=1, probe=second.job_id))
    _, passes = line.one()
    assert (passes.verdict, passes.probe) == (Verdict.GO, False)


def test_a_probe_that_is_never_heard_of_again_is_replaced(store: Store, raw: redis.Redis) -> None:
    """Its worker died; it had the field for itself for a while only."""
    line = Line(store, limits())
    store.do(breakers.trip([MODEL], reason="failures", for_s=-1))
    line.one()
    assert line.one()[1].verdict is Verdict.OPEN
    raw.hset(keys.breaker(MODEL), "probe_until", line.now_s())
    assert line.one()[1].probe


def test_a_spent_day_opens_the_breaker_until_its_end(store: Store) -> None:
    """At once, before Google says so; what was void does not count."""
    line = Line(store, limits(rpd=3))
    line.day_reset_s = line.now_s() + 3600
    for _ in range(3):
        ask, reply = line.one()
        assert reply.verdict is Verdict.GO
    line.settle(ask, reply, quota.VOID)
    assert line.one()[1].verdict is Verdict.GO
    assert line.one()[1] == Reply(Verdict.OPEN, detail="daily quota")
    found = store.do(breakers.breaker(MODEL))
    assert found is not None
    assert found.open_until.timestamp() == pytest.approx(line.day_reset_s)
    assert line.one()[1] == Reply(Verdict.OPEN, detail="daily quota")


def test_a_new_day_begins_at_the_reset(store: Store, raw: redis.Redis) -> None:
    """By Redis' clock; a worker whose clock is behind does not end the new day as it begins."""
    line = Line(store, limits(rpd=1))
    line.day_reset_s = line.now_s() + 3600
    line.one()
    assert line.one()[1].verdict is Verdict.OPEN
    line.let_pass(seconds=3600)
    raw.delete(keys.breaker(MODEL))
    assert line.day_reset_s - 3600 <= line.now_s()
    line.day_reset_s -= 3600
    assert line.one()[1].verdict is Verdict.GO
    assert line.use()["day_reset"] == pytest.approx(line.day_reset_s + 86_400)
    assert line.one()[1].verdict is Verdict.OPEN
