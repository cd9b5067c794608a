"""The judge's allowance on a real Valkey: one for all workers."""

from __future__ import annotations

import logging

import pytest
import redis

from promptyard.catalog import Price
from promptyard.job import Usage
from promptyard.store import Store, judging, keys
from promptyard_worker.allowance import SharedAllowance
from promptyard_worker.routing.caps import Purse
from promptyard_worker.routing.stages import JudgeConfig
from tests.threads import in_threads

DAY_S = 86_400
DEAD_URL = "redis://127.0.0.1:1/0"


@pytest.fixture
def allowance(store: Store) -> SharedAllowance:
    """One worker's face of the allowance."""
    return SharedAllowance(store)


def ask(allowance: SharedAllowance, calls: int = 3, most_usd: float | None = None) -> bool:
    """Ask for one call."""
    return allowance.ask(calls_per_minute=calls, max_cost_usd_per_day=most_usd)


def bill(raw: redis.Redis) -> int:
    """Today's bill in nano-dollars."""
    return int(raw.get(keys.judge_bill(int(raw.time()[0]) // DAY_S)) or 0)


def grow_older(raw: redis.Redis, seconds: float) -> None:
    """Let the calls of the last minute be so much older."""
    for member, _ in raw.zscan_iter(keys.JUDGE_CALLS):
        raw.zincrby(keys.JUDGE_CALLS, -seconds, member)


def test_workers_share_the_calls_of_a_minute(redis_url: str, raw: redis.Redis) -> None:
    """Of many that ask at once only as many get a call as are allowed, and no more later on."""
    stores = [Store(redis_url) for _ in range(4)]
    workers = iter([SharedAllowance(store) for store in stores])
    got: list[bool] = []

    def work() -> None:
        own = next(workers)
        got.extend(ask(own, calls=10) for _ in range(25))

    in_threads(4, work)
    assert sum(got) == 10
    assert raw.zcard(keys.JUDGE_CALLS) == 10
    for store in stores:
        store.close()


def test_a_call_counts_for_sixty_seconds(allowance: SharedAllowance, raw: redis.Redis) -> None:
    """A window slides: each call makes room when it is a minute old."""
    assert [ask(allowance) for _ in range(4)] == [True, True, True, False]
    grow_older(raw, 58)
    assert not ask(allowance)
    grow_older(raw, 2)
    assert [ask(allowance) for _ in range(4)] == [True, True, True, False]


def test_the_bill_adds_up(allowance: SharedAllowance, raw: redis.Redis) -> None:
    """To the billionth of a dollar; a correction takes off."""
    for _ in range(10):
        allowance.spent(0.000_000_1)
    allowance.spent(0.5)
    allowance.spent(-0.2)
    assert bill(raw) == 300_001_000


def test_an_empty_purse_allows_nothing(allowance: SharedAllowance) -> None:
    """Calls may be left; money is not."""
    allowance.spent(0.01)
    assert not ask(allowance, most_usd=0.01)
    assert ask(allowance, most_usd=0.010_001)
    assert ask(allowance)


def test_yesterdays_bill_is_not_todays(allowance: SharedAllowance, raw: redis.Redis) -> None:
    """Days are UTC days of Redis' clock."""
    today = int(raw.time()[0]) // DAY_S
    raw.set(keys.judge_bill(today - 1), 10**12, ex=60)
    assert ask(allowance, most_usd=0.01)
    raw.set(keys.judge_bill(today), 10**12, ex=60)
    assert not ask(allowance, most_usd=0.01)


def test_what_is_kept_goes_by_itself(allowance: SharedAllowance, raw: redis.Redis) -> None:
    """A minute's calls for some minutes, a bill for two days."""
    ask(allowance)
    allowance.spent(1)
    today = int(raw.time()[0]) // DAY_S
    assert 60 < raw.ttl(keys.JUDGE_CALLS) <= 120
    assert DAY_S < raw.ttl(keys.judge_bill(today)) <= 2 * DAY_S
    assert 600 < raw.ttl(keys.JUDGE_PAYMENTS) <= 1200


def test_a_question_sent_again_counts_once(store: Store, raw: redis.Redis) -> None:
    """A reply may be lost after the script has run: the store sends the same call again."""
    take = judging.take_call(calls_per_minute=1, max_cost_usd_per_day=None)
    assert [store.do(take) for _ in range(3)] == [True, True, True]
    assert raw.zcard(keys.JUDGE_CALLS) == 1
    pay = judging.pay(0.25)
    assert [store.do(pay) for _ in range(3)] == [0.25, 0.25, 0.25]
    assert bill(raw) == 250_000_000


def test_workers_keep_to_the_days_limit(redis_url: str, raw: redis.Redis) -> None:
    """Expected costs are on the bill before the calls; one more call a worker is the most."""
    judge = JudgeConfig(model="m", max_cost_usd_per_day=0.05, calls_per_minute=1000)
    stores = [Store(redis_url) for _ in range(4)]
    purses = iter([Purse(SharedAllowance(one), judge, Price(input=1, output=1)) for one in stores])
    taken: list[float | None] = []

    def work() -> None:
        own = next(purses)
        taken.extend(own.take(Usage(prompt_tokens=1000)) for _ in range(50))

    in_threads(4, work)
    assert bill(raw) == sum(cost is not None for cost in taken) * 1_000_000
    assert 49_000_000 <= bill(raw) <= 53_000_000
    for store in stores:
        store.close()


def test_without_redis_nothing_is_allowed_and_it_is_said_once(
    store: Store, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """What was spent meanwhile is put on the bill when Redis is back."""
    away = Store(DEAD_URL)
    allowance = SharedAllowance(away)
    with caplog.at_level(logging.WARNING):
        assert not ask(allowance)
        allowance.spent(0.1)
    assert len(caplog.records) == 1
    assert "judge" in caplog.text
    allowance._store = store
    allowance.spent(0.2)
    assert bill(raw) == 300_000_000
    away.close()
