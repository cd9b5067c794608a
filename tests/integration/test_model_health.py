"""How the models are, as the store's scripts leave their traces."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from promptyard.names import Tier
from promptyard.producer import Producer
from promptyard.store import Store, breakers, feedback, jobs, parking, running
from promptyard.store.feedback import Kind
from promptyard.store.health import ModelHealth, QuotaUse, RouteCounts
from promptyard.store.models import Granted, quota_use
from promptyard.store.quota import Ask, Limits, Reply, Settlement, admit, refuse, settle
from promptyard.store.running import Release
from tests.integration.test_control import MODEL, publish
from tests.integration.test_store import RETENTION_S, in_hand

DAY_S = 86_400


def limits(rpm: int | None = 100) -> Limits:
    """Of the one model there is."""
    return Limits(model=MODEL, window_s=60.6, rpm=rpm, tpm=100_000, rpd=1000)


def granted(
    store: Store, tokens: Sequence[int], *, rpm: int | None = 100
) -> list[tuple[str, Reply]]:
    """Calls of so many tokens each, let through: (job id, reply)."""
    found = []
    for count in tokens:
        job_id, token = in_hand(store)
        call = admit(
            limits(rpm),
            [Ask(job_id, token, count, 0.0)],
            process="p",
            lease_s=60.0,
            retention_s=RETENTION_S,
            spread_s=0.0,
            day_reset_s=store.do(jobs.time_s()) + DAY_S,
            probe_s=10.0,
        )
        found += [(job_id, reply) for reply in store.do(call)]
    return found


def health(producer: Producer) -> ModelHealth:
    """Of the one model there is."""
    (model,) = producer.models()
    return model


def test_before_the_first_worker_there_are_no_models(producer: Producer) -> None:
    """Nobody has said which."""
    assert producer.models() == []


def test_a_model_that_was_never_called_is_well(producer: Producer, store: Store) -> None:
    """Nothing is known of it."""
    publish(store)
    model = health(producer)
    assert model == ModelHealth(name=MODEL, tier=Tier.LITE)
    assert model.well


def test_the_quota_in_use_is_of_the_last_minute(producer: Producer, store: Store) -> None:
    """Requests, tokens as the model counted them, and the day's requests."""
    publish(store)
    (first, reply), *_ = granted(store, [100, 200, 300])
    store.do(settle(limits(), [Settlement(first, reply.ticket, 150)]))
    quota = health(producer).quota
    assert (quota.requests, quota.tokens, quota.day_requests) == (3, 650, 3)
    assert (quota.request_factor, quota.found_rpm, quota.blocked_until) == (1.0, None, None)


def test_minutes_that_have_passed_do_not_count() -> None:
    """Nor does a day that is over."""
    numbers = {"day_used": 7.0, "day_reset": 1000.0, "blocked": 900.0}
    buckets = {9_300: Granted(1, 10), 9_500: Granted(2, 20), 10_100: Granted(4, 40)}
    assert quota_use(numbers, buckets, now_s=1000.0) == QuotaUse(requests=6, tokens=60)
    assert quota_use(numbers, buckets, now_s=950.0).requests == 7
    assert quota_use(numbers, buckets, now_s=950.0).day_requests == 7
    assert quota_use(numbers, buckets, now_s=890.0).blocked_until is not None
    assert quota_use({}, {}, now_s=1000.0) == QuotaUse()


def test_a_429_stops_the_model_and_lowers_its_limit(producer: Producer, store: Store) -> None:
    """Until when all wait, and what is left of the limit in the file."""
    publish(store)
    *_, (_, last) = granted(store, [100] * 60)
    refusal = refuse(limits(), kind="rpm", ticket=last.ticket, retry_after_s=30.0, random=0.5)
    until_s = store.do(refusal)
    model = health(producer)
    assert not model.well
    assert model.quota.blocked_until is not None
    assert model.quota.blocked_until.timestamp() == pytest.approx(until_s, abs=1e-3)
    assert model.quota.request_factor == pytest.approx(0.59)
    assert (model.quota.token_factor, model.quota.found_rpm) == (1.0, None)


def test_a_429_finds_the_limit_that_the_file_does_not_name(
    producer: Producer, store: Store
) -> None:
    """As requests a minute."""
    publish(store)
    *_, (_, last) = granted(store, [100] * 31, rpm=None)
    unlimited = limits(rpm=None)
    store.do(refuse(unlimited, kind="rpm", ticket=last.ticket, retry_after_s=1.0, random=0.5))
    quota = health(producer).quota
    assert (quota.request_factor, quota.found_rpm) == (1.0, 30)


def test_breaker_pauses_and_parked_jobs(producer: Producer, store: Store) -> None:
    """Each is told, and each makes the model unwell."""
    publish(store)
    until_s = store.do(breakers.trip([MODEL], reason="unauthenticated", for_s=30.0))
    job_id, token = in_hand(store)
    to = Release(tier=Tier.LITE, model=MODEL, place=parking.model_place(MODEL), outage=True)
    store.do(running.release(job_id, token, to, priority=5))
    model = health(producer)
    assert model.breaker is not None
    assert model.breaker.reason == "unauthenticated"
    assert model.breaker.open_until.timestamp() == pytest.approx(until_s, abs=1e-3)
    assert (model.parked, model.paused_since, model.well) == (1, None, False)
    producer.pause(model=MODEL)
    producer.pause(tier="lite")
    model = health(producer)
    assert model.paused_since is not None
    assert model.tier_paused_since is not None


def test_routes_are_counted(producer: Producer, store: Store) -> None:
    """By name; what was not counted is none."""
    store.do_many([feedback.add("mail", Kind.ANSWERS, 7), feedback.add("mail", Kind.REPAIRS, 2)])
    store.do(feedback.add("(judge pro)", Kind.ESCALATIONS, 1))
    assert producer.routes() == [
        RouteCounts(name="(judge pro)", escalations=1),
        RouteCounts(name="mail", answers=7, repairs=2),
    ]
