"""The cap on a batch's cost: what is held for calls in flight, when it pauses, how it goes on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import redis

from promptyard.batch import BatchState, BatchStatus, Pause
from promptyard.errors import BudgetSpent, SettingsError
from promptyard.job import Job, JobState
from promptyard.names import Tier
from promptyard.producer import Producer
from promptyard.store import Store, jobs, keys, running
from promptyard.store.quota import Verdict
from promptyard.store.running import Release, Why
from tests.conftest import wait_until
from tests.integration.test_control import MODEL, asked
from tests.integration.test_store import (
    ATTEMPT,
    ENDING,
    RETENTION_S,
    claimed,
    in_hand,
    lapse,
    requeue,
    routed,
    submitted,
)

GO, PAUSED = Verdict.GO, Verdict.PAUSED


def billed(store: Store, job_id: str, token: str, cost_usd: float) -> bool:
    """The call's answer, with its bill."""
    attempts = [ATTEMPT.model_copy(update={"cost_usd": cost_usd})]
    call = running.record(job_id, token, ENDING, attempts=attempts, retention_s=RETENTION_S)
    return store.do(call)


def capped(producer: Producer, store: Store, cap_usd: float, calls: int) -> list[tuple[str, str]]:
    """Claimed jobs of batch b, which has a cap."""
    producer.submit_batch([], batch_id="b", max_cost_usd=cap_usd)
    return [in_hand(store, "b") for _ in range(calls)]


def verdicts(store: Store, held: list[tuple[str, str]], cost_usd: float) -> list[Verdict]:
    """Ask for a call each."""
    return [asked(store, *one, cost_usd=cost_usd).verdict for one in held]


def test_calls_in_flight_count_as_spent(producer: Producer, store: Store) -> None:
    """Of four calls at once, as many pass as the cap has room for; the batch pauses."""
    held = capped(producer, store, 1.0, 4)
    assert verdicts(store, held, 0.4) == [GO, GO, PAUSED, PAUSED]
    status = producer.status("b")
    assert (status.state, status.paused) == (BatchState.PAUSED, Pause.BUDGET)
    assert (status.cost_usd, status.held_usd, status.max_cost_usd) == (0, 0.8, 1.0)
    assert not status.out_of_budget, "calls are in flight, and may cost less"


def test_it_goes_on_by_itself_when_calls_cost_less(producer: Producer, store: Store) -> None:
    """Once the last of them is billed, not before."""
    first, second, third = capped(producer, store, 1.0, 3)
    verdicts(store, [first, second, third], 0.4)
    billed(store, *first, 0.1)
    assert producer.status("b").paused is Pause.BUDGET
    billed(store, *second, 0.1)
    status = producer.status("b")
    assert (status.paused, status.held_usd) == (None, 0)
    assert verdicts(store, [third], 0.4) == [GO]


def test_it_stays_paused_when_there_is_no_room(producer: Producer, store: Store) -> None:
    """For the call that did not fit: what is left of the cap is not enough."""
    first, second, third = capped(producer, store, 1.0, 3)
    verdicts(store, [first, second, third], 0.4)
    billed(store, *first, 0.4)
    billed(store, *second, 0.3)
    status = producer.status("b")
    assert status.out_of_budget
    assert status.cost_usd == pytest.approx(0.7)
    assert verdicts(store, [third], 0.4) == [PAUSED]


def test_it_is_overdrawn_by_wrong_estimates_only(producer: Producer, store: Store) -> None:
    """By the difference between what was held for the calls in flight and their bills."""
    held = capped(producer, store, 1.0, 5)
    assert verdicts(store, held, 0.5) == [GO, GO, PAUSED, PAUSED, PAUSED]
    for one in held[:2]:
        billed(store, *one, 0.6)
    assert producer.status("b").cost_usd == pytest.approx(1.0 + 2 * 0.1)
    assert verdicts(store, held[2:], 1e-9) == [PAUSED] * 3


def _recorded(store: Store, job_id: str, token: str) -> object:
    return billed(store, job_id, token, 0.0)


def _released(store: Store, job_id: str, token: str) -> object:
    to = Release(tier=Tier.LITE, model=MODEL, attempts=[ATTEMPT], why=Why.RETRY)
    return store.do(running.release(job_id, token, to, priority=5))


def _requeued(store: Store, job_id: str, token: str) -> object:
    lapse(store, job_id)
    return store.do(requeue(job_id))


def _poisoned(store: Store, job_id: str, token: str) -> object:
    lapse(store, job_id)
    return store.do(requeue(job_id, max_worker_lost=1)) == 2


def _cancelled(store: Store, job_id: str, token: str) -> object:
    return store.do(jobs.cancel([job_id], keep_running=False, retention_s=RETENTION_S))


@pytest.mark.parametrize("way_out", [_recorded, _released, _requeued, _poisoned, _cancelled])
def test_what_is_held_is_given_back(
    producer: Producer,
    store: Store,
    raw: redis.Redis,
    way_out: Callable[[Store, str, str], object],
) -> None:
    """On every way out of a worker's hands, once."""
    ((job_id, token),) = capped(producer, store, 1.0, 1)
    assert verdicts(store, [(job_id, token)], 0.4) == [GO]
    assert producer.status("b").held_usd == 0.4
    assert way_out(store, job_id, token)
    way_out(store, job_id, token)  # the reply was lost
    assert producer.status("b").held_usd == 0
    assert raw.hget(keys.job(job_id), "held") is None


def test_what_is_held_is_given_back_by_expiry(
    producer: Producer, store: Store, raw: redis.Redis
) -> None:
    """A job that waited in a line for too long."""
    producer.submit_batch([], batch_id="b", max_cost_usd=1.0)
    job_id = submitted(store, Job(contents="x", expires_in=timedelta(milliseconds=300)), "b")
    routed(store, job_id)
    claim, token = claimed(store, job_id)
    assert claim.verdict == "run"
    ticket = asked(store, job_id, token, cost_usd=0.4).ticket
    assert producer.status("b").held_usd == 0.4
    deadline = float(raw.hget(keys.job(job_id), "deadline") or 0)
    wait_until(lambda: store.do(jobs.time_s()) > deadline, description="the deadline has passed")
    assert asked(store, job_id, token, cost_usd=0.4, ticket=ticket).verdict is Verdict.EXPIRED
    assert producer.status("b").held_usd == 0


def test_asking_again_holds_once(producer: Producer, store: Store) -> None:
    """As who waits for a slot does, and who asks with a ticket."""
    ((job_id, token),) = capped(producer, store, 1.0, 1)
    ticket = asked(store, job_id, token, cost_usd=0.4).ticket
    asked(store, job_id, token, cost_usd=0.4)
    asked(store, job_id, token, cost_usd=0.4, ticket=ticket)
    assert producer.status("b").held_usd == 0.4


def test_a_second_call_of_a_job_is_held_again(producer: Producer, store: Store) -> None:
    """A retry after a bill: both count."""
    ((job_id, token),) = capped(producer, store, 1.0, 1)
    asked(store, job_id, token, cost_usd=0.4)
    attempts = [ATTEMPT.model_copy(update={"cost_usd": 0.7})]
    to = Release(tier=Tier.LITE, model=MODEL, attempts=attempts, why=Why.RETRY)
    store.do(running.release(job_id, token, to, priority=5))
    _, token = claimed(store, job_id)
    assert asked(store, job_id, token, cost_usd=0.4).verdict is PAUSED
    assert producer.status("b").out_of_budget


def test_resuming_needs_room_for_a_call(producer: Producer, store: Store) -> None:
    """The error says what is spent and what to give; that much will do."""
    first, second = capped(producer, store, 1.0, 2)
    verdicts(store, [first], 0.4)
    billed(store, *first, 0.75)
    verdicts(store, [second], 0.4)
    for cap_usd in (None, 0.5, 1.1):
        with pytest.raises(
            BudgetSpent, match=r"spent \$0.75, .* \$0.40: .* at least \$1.15"
        ) as caught:
            producer.resume("b", max_cost_usd=cap_usd)
    assert producer.status("b").max_cost_usd == 1.0, "a cap that does not do is not taken"
    assert caught.value.spent_usd == 0.75
    assert producer.resume("b", max_cost_usd=caught.value.least_usd)
    assert verdicts(store, [second], 0.4) == [GO]


def test_a_cap_below_what_is_spent_is_no_cap(producer: Producer, store: Store) -> None:
    """Whether the batch is paused or not."""
    (one,) = capped(producer, store, 1.0, 1)
    verdicts(store, [one], 0.4)
    billed(store, *one, 0.75)
    with pytest.raises(BudgetSpent, match=r"spent \$0.75: .* at least \$0.750000001"):
        producer.resume("b", max_cost_usd=0.75)
    assert not producer.resume("b", max_cost_usd=0.8), "it was not paused"
    assert producer.status("b").max_cost_usd == 0.8


def test_a_users_pause_outlasts_a_higher_cap(producer: Producer, store: Store) -> None:
    """Of a batch that had spent its budget, too; only resume ends it."""
    held = capped(producer, store, 1.0, 1)
    verdicts(store, held, 2.0)
    assert producer.pause("b")
    producer.submit_batch([], batch_id="b", max_cost_usd=5.0)
    assert producer.status("b").paused is Pause.USER
    producer.resume("b")
    assert verdicts(store, held, 2.0) == [GO]


def test_submitting_again_replaces_the_cap(producer: Producer, store: Store) -> None:
    """And ends the pause, if it has room; the same amount again changes nothing."""
    held = capped(producer, store, 1.0, 1)

    def again(max_cost_usd: float | None) -> BatchStatus:
        producer.submit_batch([], batch_id="b", max_cost_usd=max_cost_usd)
        return producer.status("b")

    verdicts(store, held, 2.0)
    assert producer.status("b").out_of_budget
    assert again(None).max_cost_usd == 1.0
    assert again(1.5).out_of_budget
    assert again(3.0).paused is None
    producer.resume("b", max_cost_usd=8.0)
    assert again(3.0).max_cost_usd == 8.0
    assert again(2.5).max_cost_usd == 2.5


def test_an_identity_keeps_its_cap(producer: Producer) -> None:
    """As a file that is run again: with or without its option."""
    batch_id = producer.open_batch(identity="file", max_cost_usd=2.0)
    assert producer.open_batch(identity="file") == batch_id
    assert producer.status(batch_id).max_cost_usd == 2.0
    producer.open_batch(identity="file", max_cost_usd=3.0)
    assert producer.status(batch_id).max_cost_usd == 3.0


def test_a_follow_waits_or_stops(producer: Producer, store: Store) -> None:
    """A batch that has spent its budget is not done; who wants to know is told."""
    first, second = capped(producer, store, 1.0, 2)
    verdicts(store, [first, second], 0.9)
    billed(store, *first, 0.9)
    follower = producer.follow("b", stop_at_budget=True)
    assert [result.id for result in follower] == [first[0]]
    assert follower.status is not None
    assert follower.status.out_of_budget
    producer.resume("b", max_cost_usd=5.0)
    verdicts(store, [second], 0.9)
    billed(store, *second, 0.9)
    rest = producer.follow("b", cursor=follower.cursor, stop_at_budget=True)
    assert [result.id for result in rest] == [second[0]]
    assert producer.status("b").counts[JobState.SUCCEEDED] == 2


@pytest.mark.parametrize("amount", [0, -1.0, float("inf"), float("nan")])
def test_a_cap_is_an_amount(producer: Producer, amount: float) -> None:
    """Nothing is no cap."""
    with pytest.raises(SettingsError, match="more than 0"):
        producer.open_batch(max_cost_usd=amount)
