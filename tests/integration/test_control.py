"""Pause and resume of batches, tiers and models, on a real Valkey; a hand plays the workers."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
import redis

from promptyard.async_producer import AsyncProducer
from promptyard.batch import BatchState, Pause
from promptyard.catalog import Catalog, ModelCard, Price
from promptyard.errors import BatchNotFound, SettingsError
from promptyard.job import Job, JobState
from promptyard.names import Tier
from promptyard.producer import Producer
from promptyard.store import Store, batches, fleet, keys, parking, running
from promptyard.store.parking import Parked
from promptyard.store.quota import Ask, Limits, Reply, Verdict, admit
from promptyard.store.running import Release
from tests.integration.test_store import RETENTION_S, claimed, in_hand, recorded, submitted

MODEL = "gemini-2.5-flash-lite"
#: The batch, tier and model of a job that ``in_hand`` gives.
PLACES = ("batch", "tier", "model")


def asked(
    store: Store, job_id: str, token: str, *, cost_usd: float = 0.0, ticket: str = ""
) -> Reply:
    """Ask for one call of the job's model, without any quota."""
    call = admit(
        Limits(model=MODEL, window_s=60.0),
        [Ask(job_id, token, 10, cost_usd, ticket)],
        process=uuid.uuid4().hex,
        lease_s=60.0,
        retention_s=RETENTION_S,
        spread_s=0.0,
        day_reset_s=9e9,
        probe_s=10.0,
    )
    return store.do(call)[0]


def publish(store: Store) -> None:
    """The catalog of a yard that calls one model."""
    card = ModelCard(tier=Tier.LITE, price=Price(input=1, output=2))
    catalog = Catalog(policy_version="1", tier_models={Tier.LITE: MODEL}, models={MODEL: card})
    store.do(fleet.put_catalog(catalog, retention_s=RETENTION_S))


def target(kind: str, batch_id: str) -> dict[str, Any]:
    """What pause and resume are given for a kind of place."""
    return {kind: {"batch": batch_id, "tier": "lite", "model": MODEL}[kind]}


@pytest.mark.parametrize("kind", PLACES)
def test_a_paused_place_lets_no_call_through(producer: Producer, store: Store, kind: str) -> None:
    """Told in which place to wait; once it is resumed, calls pass again."""
    batch_id = producer.open_batch()
    job_id, token = in_hand(store, batch_id)
    what = target(kind, batch_id)
    assert producer.pause(**what)
    assert not producer.pause(**what), "it was paused already"
    place = f"{kind}:{what[kind]}"
    assert asked(store, job_id, token) == Reply(Verdict.PAUSED, detail=place)
    assert producer.resume(**what)
    assert not producer.resume(**what), "it was not paused"
    assert asked(store, job_id, token).verdict is Verdict.GO


@pytest.mark.parametrize("kind", PLACES)
def test_others_go_on_meanwhile(producer: Producer, store: Store, kind: str) -> None:
    """A pause is of one batch, tier or model."""
    job_id, token = in_hand(store, producer.open_batch())
    other = {"batch": producer.open_batch(), "tier": "pro", "model": "gemini-2.5-pro"}
    producer.pause(**{kind: other[kind]})
    assert asked(store, job_id, token).verdict is Verdict.GO


def test_a_parked_job_has_no_message_and_no_lease(
    producer: Producer, store: Store, raw: redis.Redis
) -> None:
    """It is sent on once, by whoever comes first; a message that is left is one too many."""
    batch_id = producer.open_batch()
    job_id, token = in_hand(store, batch_id)
    producer.pause(batch_id)
    raw.delete(keys.queue("lite", 5))
    place = parking.batch_place(batch_id)
    to = Release(tier=Tier.LITE, model=MODEL, place=place)
    store.do(running.release(job_id, token, to, priority=5))
    assert claimed(store, job_id)[0].verdict == "parked"
    assert (raw.llen(keys.queue("lite", 5)), raw.zcard(keys.LEASES)) == (0, 0)
    assert store.do(parking.places()) == [place]
    producer.resume(batch_id)
    send_on = parking.unpark(place, [Parked(job_id, "lite", 5)])
    assert [store.do(send_on), store.do(send_on)] == [1, 0]
    assert store.do(parking.places()) == []
    assert claimed(store, job_id)[0].verdict == "run"


def test_a_parked_job_can_be_cancelled(producer: Producer, store: Store) -> None:
    """It leaves its place, and ends the batch although that is paused."""
    batch_id = producer.open_batch()
    job_id, token = in_hand(store, batch_id)
    producer.pause(batch_id)
    to = Release(tier=Tier.LITE, model=MODEL, place=parking.batch_place(batch_id))
    store.do(running.release(job_id, token, to, priority=5))
    store.do(batches.seal(batch_id, retention_s=RETENTION_S))
    assert producer.cancel(batch_id) == 1
    assert store.do(parking.places()) == []
    status = producer.status(batch_id)
    assert (status.state, status.paused) == (BatchState.DONE, None)
    assert [result.status for result in producer.follow(batch_id)] == [JobState.CANCELLED]


def test_calls_in_flight_end_as_they_will(producer: Producer, store: Store) -> None:
    """What they bring is recorded in the paused batch; the last one ends it."""
    batch_id = producer.open_batch()
    job_id, token = in_hand(store, batch_id)
    submitted(store, Job(contents="y"), batch_id)
    store.do(batches.seal(batch_id, retention_s=RETENTION_S))
    producer.pause(batch_id)
    assert recorded(store, job_id, token)
    status = producer.status(batch_id)
    assert (status.state, status.paused, status.finished) == (BatchState.PAUSED, Pause.USER, 1)
    assert not status.out_of_budget
    assert [result.id for result in producer.results(batch_id)] == [job_id]


def test_what_is_paused_must_exist(producer: Producer, store: Store) -> None:
    """A wrong name must not pass for a pause; the message names what there is."""
    publish(store)
    with pytest.raises(BatchNotFound, match="promptyard status"):
        producer.pause("nothing")
    with pytest.raises(BatchNotFound):
        producer.resume("nothing", max_cost_usd=1)
    with pytest.raises(SettingsError, match="'big': use pro, flash, lite"):
        producer.pause(tier="big")
    with pytest.raises(SettingsError, match=f"'gpt-9': the workers know {MODEL}"):
        producer.pause(model="gpt-9")
    with pytest.raises(SettingsError, match="gpt-9"):
        producer.resume(model="gpt-9")


def test_one_thing_is_paused_at_a_time(producer: Producer) -> None:
    """None or two are refused; so is a budget for what has none."""
    with pytest.raises(SettingsError, match="Name one thing"):
        producer.pause()
    with pytest.raises(SettingsError, match="Name one thing"):
        producer.resume(tier="pro", model=MODEL)
    with pytest.raises(SettingsError, match="Only a batch"):
        producer.resume(tier="pro", max_cost_usd=1)


def test_a_model_that_left_the_router_file_can_be_resumed(producer: Producer, store: Store) -> None:
    """Its pause would otherwise stay for ever."""
    producer.pause(model="old")
    publish(store)
    assert producer.resume(model="old")


def test_the_awaiting_face_pauses_too(redis_url: str, store: Store) -> None:
    """Pause, resume, models and routes, awaited."""
    publish(store)

    async def scenario() -> None:
        async with AsyncProducer(redis_url) as yard:
            batch_id = await yard.open_batch(max_cost_usd=1.0)
            assert await yard.pause(batch_id)
            assert await yard.resume(batch_id, max_cost_usd=2.0)
            assert (await yard.status(batch_id)).max_cost_usd == 2.0
            assert await yard.pause(tier=Tier.LITE)
            (model,) = await yard.models()
            assert model.tier_paused_since is not None
            assert await yard.routes() == []

    asyncio.run(scenario())
