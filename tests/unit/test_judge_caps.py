"""What holds the judge back: share, rest, purse, the allowance of one process."""

from __future__ import annotations

import math
import random

import pytest

from promptyard.catalog import Price
from promptyard.job import Usage
from promptyard_worker.routing.caps import (
    FAILURES_BEFORE_REST,
    FIRST_REST_S,
    LONGEST_REST_S,
    LocalAllowance,
    Purse,
    Rest,
    Share,
)
from promptyard_worker.routing.stages import JudgeConfig
from tests.threads import in_threads

PRICE = Price(input=1.0, output=4.0)
MILLION = 1_000_000


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        """The time it was set to."""
        return self.now_s


def test_the_judge_sees_its_share_and_one_prompt_of_rounding() -> None:
    """Whatever the sizes of the chunks, at every moment."""
    share, lot = Share(0.2), random.Random(1)
    arrived = granted = 0
    for _ in range(50):
        size = lot.randint(1, 64)
        arrived += size
        granted += share.take(arrived=size, wanted=lot.randint(0, size)).granted
        assert granted <= math.ceil(0.2 * arrived)
    assert share.take(arrived=0, wanted=10_000).granted == math.ceil(0.2 * arrived) - granted


def test_a_lone_prompt_may_be_seen() -> None:
    """A trial of one prompt asks the judge; the next ones pay for it."""
    share = Share(0.1)
    assert [share.take(arrived=1, wanted=1).granted for _ in range(12)] == [1] + [0] * 9 + [1, 0]


def test_old_credit_is_forgotten() -> None:
    """A day of easy prompts does not pay for a burst of hard ones."""
    share = Share(0.5, memory_prompts=100)
    for _ in range(1000):
        share.take(arrived=10, wanted=0)
    assert share.take(arrived=10, wanted=10_000).granted == 50


def test_old_debt_is_forgotten_with_its_prompts() -> None:
    """What the judge saw leaves the memory together with what had arrived."""
    share = Share(0.5, memory_prompts=100)
    for _ in range(1000):
        assert share.take(arrived=10, wanted=10).granted == 5


def test_what_was_not_shown_is_given_back() -> None:
    """Also after the chunk has left the memory, where it counts for nothing."""
    share = Share(0.5, memory_prompts=10)
    first = share.take(arrived=10, wanted=5)
    share.give_back(first, 3)
    assert share.take(arrived=0, wanted=9).granted == 3
    share.take(arrived=10, wanted=5)
    share.give_back(first, 2)
    assert share.take(arrived=0, wanted=9).granted == 0


def test_threads_share_the_share() -> None:
    """No thread gets what another has."""
    share = Share(0.25)
    grants: list[int] = []

    def work() -> None:
        grants.extend(share.take(arrived=4, wanted=4).granted for _ in range(50))

    in_threads(8, work)
    assert sum(grants) == 8 * 50


def test_the_judge_rests_after_failures_in_a_row_each_time_longer() -> None:
    """30 s, doubled each time to 5 minutes; after a rest the first failure is enough."""
    clock = Clock()
    rest = Rest(clock=clock)
    assert [rest.failed() for _ in range(FAILURES_BEFORE_REST)] == [0, 0, FIRST_REST_S]
    found: list[float] = []
    for _ in range(5):
        assert rest.is_on
        assert rest.failed() == 0  # asked before the rest began
        clock.now_s += LONGEST_REST_S
        assert not rest.is_on
        found.append(rest.failed())
    assert found == [60, 120, 240, 300, 300]


def test_a_success_ends_the_row() -> None:
    """Failures now and then are no reason to rest, and the next rest is short again."""
    clock = Clock()
    rest = Rest(clock=clock)
    for _ in range(20):
        assert rest.failed() == 0
        assert rest.failed() == 0
        rest.succeeded()
    for _ in range(FAILURES_BEFORE_REST):
        rest.failed()
    clock.now_s += FIRST_REST_S
    rest.succeeded()
    assert [rest.failed() for _ in range(FAILURES_BEFORE_REST)][-1] == FIRST_REST_S


def test_a_minute_is_any_sixty_seconds() -> None:
    """Never more calls than allowed in a window, wherever it begins."""
    clock, lot = Clock(), random.Random(2)
    allowance, taken = LocalAllowance(clock=clock), []
    for _ in range(2_000):
        clock.now_s += lot.expovariate(1.0)
        if allowance.ask(calls_per_minute=10, max_cost_usd_per_day=None):
            taken.append(clock.now_s)
    assert all(later - first >= 60 for first, later in zip(taken, taken[10:], strict=False))
    assert len(taken) > 9 * (clock.now_s - 1_000_000) / 60


def test_the_bill_begins_anew_each_day() -> None:
    """An empty purse is full again at midnight, UTC."""
    clock = Clock()
    allowance = LocalAllowance(clock=clock)
    allowance.spent(2.0)
    assert not allowance.ask(calls_per_minute=10, max_cost_usd_per_day=2.0)
    assert allowance.ask(calls_per_minute=10, max_cost_usd_per_day=2.1)
    clock.now_s += 86_400
    assert allowance.ask(calls_per_minute=10, max_cost_usd_per_day=2.0)


def test_calls_in_flight_are_on_the_bill() -> None:
    """Threads together never expect to spend more than the day allows."""
    judge = JudgeConfig(model="m", max_cost_usd_per_day=10.0, calls_per_minute=1000)
    purse = Purse(LocalAllowance(), judge, PRICE)
    taken: list[float | None] = []

    def work() -> None:
        taken.extend(purse.take(Usage(prompt_tokens=MILLION)) for _ in range(20))

    in_threads(8, work)
    assert [cost for cost in taken if cost is not None] == [1.0] * 9  # a tenth would empty it


def test_a_bill_is_corrected_when_the_cost_is_known() -> None:
    """The room that a cheap answer leaves can be used."""
    judge = JudgeConfig(model="m", max_cost_usd_per_day=6.5)
    purse = Purse(LocalAllowance(), judge, PRICE)
    expected = Usage(prompt_tokens=MILLION, output_tokens=MILLION)
    first = purse.take(expected)
    assert first == pytest.approx(5.0)
    assert purse.take(expected) is None
    purse.settle(first or 0, Usage(prompt_tokens=MILLION))
    assert purse.take(expected) == pytest.approx(5.0)


def test_a_call_dearer_than_the_day_is_not_made() -> None:
    """Not even the first."""
    judge = JudgeConfig(model="m", max_cost_usd_per_day=0.5)
    purse = Purse(LocalAllowance(), judge, PRICE)
    assert purse.take(Usage(prompt_tokens=MILLION)) is None
