"""What a 429 does: all wait, the rate goes down to what is let in, and grows again."""

from __future__ import annotations

import math
from collections import deque
from datetime import UTC, datetime

import pytest

from promptyard.store import Store
from promptyard.store.quota import VOID, Ask, Reply, Verdict
from promptyard_worker.sim.quota import ModelQuota
from tests.integration.quota_line import WINDOW_S, Line, limits


def granted(line: Line, number: int, tokens: int = 1) -> list[tuple[Ask, Reply]]:
    """So many calls that are let through now."""
    asks = line.new_asks([tokens] * number)
    replies = [reply for n in range(0, number, 64) for reply in line.ask(*asks[n : n + 64])]
    assert {reply.verdict for reply in replies} == {Verdict.GO}
    return list(zip(asks, replies, strict=True))


def test_all_processes_wait_as_the_server_asks(store: Store) -> None:
    """RetryInfo counts for everyone, and the longest holds."""
    line = Line(store, limits(rpm=100))
    (_, reply), (_, other) = granted(line, 2)
    assert line.refuse(reply, retry_after_s=17) == pytest.approx(17, abs=0.1)
    assert line.refuse(other, retry_after_s=3) == pytest.approx(17, abs=0.1)
    for process in ("a", "b"):
        _, waits = line.one(process=process)
        assert waits.verdict is Verdict.AT
        assert waits.wait_s == pytest.approx(17, abs=0.1)


def test_a_grant_within_the_wait_is_booked_anew(store: Store) -> None:
    """It was reserved before the 429; its old place is free again, and it counts once."""
    line = Line(store, limits(rpm=2))
    (_, first), _ = granted(line, 2)
    ask, later = line.one()
    line.refuse(first, retry_after_s=100)
    line.let_pass(seconds=61)
    (anew,) = line.ask(ask)
    assert anew.verdict is Verdict.AT
    assert anew.wait_s == pytest.approx(39, abs=0.5)
    assert anew.ticket != later.ticket
    assert line.use()["day_used"] == 3
    line.let_pass(seconds=anew.wait_s)
    assert line.ask(ask)[0].verdict is Verdict.GO


def test_a_grant_after_the_wait_keeps_its_place(store: Store) -> None:
    """Nothing is gained by sending it to the end of the line."""
    line = Line(store, limits(rpm=1))
    ((_, first),) = granted(line, 1)
    ask, later = line.one()
    line.one()
    line.refuse(first, retry_after_s=10)
    assert line.ask(ask)[0].ticket == later.ticket


def test_without_a_word_from_the_server_the_waits_double(store: Store) -> None:
    """While nothing gets through; drawn between half and all of it; never more than a minute."""
    line = Line(store, limits(rpm=1_000))
    ((_, reply),) = granted(line, 1)
    waits = []
    for _ in range(9):
        waits.append(line.refuse(reply))
        reply = line.one()[1]
    grown = [after - before for before, after in zip([0.0, *waits], waits, strict=False)]
    assert grown[:3] == pytest.approx([1, 1, 2], abs=0.1), "1, 2, 4 seconds from now"
    assert waits == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60], abs=0.5)


def test_the_waits_are_drawn(store: Store) -> None:
    """Between half and all of what it would be."""
    line = Line(store, limits(rpm=1_000))
    ((_, reply),) = granted(line, 1)
    assert line.refuse(reply, random=0) == pytest.approx(0.5, abs=0.1)


def test_answers_end_the_doubling(store: Store) -> None:
    """After a few of them a new 429 is the first of its kind."""
    line = Line(store, limits(rpm=1_000))
    ((_, reply),) = granted(line, 1)
    for _ in range(3):
        line.refuse(reply)
        reply = line.one()[1]
    line.let_pass(seconds=61)
    for ask, served in granted(line, 5):
        line.settle(ask, served, 1)
    assert line.refuse(line.one()[1]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(("kind", "sum_of", "size"), [("rpm", "req", 1), ("tpm", "tok", 100)])
def test_one_excess_cuts_once_to_what_was_let_in(
    store: Store, kind: str, sum_of: str, size: int
) -> None:
    """130 go out, 30 come back refused: the factor is 100 of 130, in whatever order they do."""
    line = Line(store, limits(rpm=130, tpm=13_000))
    calls = granted(line, 130, 100)
    for ask, reply in calls[100:]:
        line.refuse(reply, kind=kind, retry_after_s=0)
        line.settle(ask, reply, VOID)
    assert line.use()[f"{sum_of}_factor"] == pytest.approx(100 / 130)
    other = "tok" if sum_of == "req" else "req"
    assert line.use()[f"{other}_factor"] == 1
    assert line.use()[sum_of] == 100 * size
    line.let_pass(seconds=61)
    asks = line.new_asks([100] * 120)
    replies = [*line.ask(*asks[:64]), *line.ask(*asks[64:])]
    assert len(replies) == 103, "102 and one that waits: the quiet minute has brought 2 %"


def test_a_cut_takes_a_little_at_least(store: Store) -> None:
    """A 429 on the very last call of the limit cuts 2 %."""
    line = Line(store, limits(rpm=100))
    line.refuse(granted(line, 100)[-1][1])
    assert line.use()["req_factor"] == pytest.approx(0.98)


def test_a_stubborn_429_cuts_however_little_was_let_in(store: Store) -> None:
    """Others use the quota too: after three with nothing between, down it goes, by halves."""
    line = Line(store, limits(rpm=100_000))
    for factor in (1, 1, 0.5, 0.25):
        line.refuse(line.one()[1], retry_after_s=0.2)
        assert line.use()["req_factor"] == pytest.approx(factor)


def test_unnamed_429s_cut_blindly_when_they_go_on(store: Store) -> None:
    """The model is short of capacity; two may be chance, the third costs a fifth."""
    line = Line(store, limits(rpm=100))
    for factor in (1, 1, 0.8, 0.64):
        line.refuse(line.one()[1], kind="unnamed", retry_after_s=0.2)
        assert line.use()["req_factor"] == pytest.approx(factor)


def test_the_factor_grows_with_quiet_minutes(store: Store) -> None:
    """2 % of the limit a minute, and not beyond the limit."""
    line = Line(store, limits(rpm=130))
    calls = granted(line, 130)
    for ask, reply in calls[100:]:
        line.refuse(reply, retry_after_s=0)
        line.settle(ask, reply, VOID)
    for minutes, factor in ((0.5, 0), (0.6, 0.02), (0.5, 0.02), (0.6, 0.04), (3.1, 0.1), (20, 1)):
        line.let_pass(seconds=minutes * WINDOW_S)
        line.one()
        assert line.use()["req_factor"] == pytest.approx(min(1, 100 / 130 + factor))


def test_a_limit_that_the_file_does_not_name_is_found(store: Store) -> None:
    """What was let in is the limit, until it has grown to twice of that."""
    line = Line(store, limits())
    calls = granted(line, 100)
    for ask, reply in calls[80:]:
        line.refuse(reply, retry_after_s=50)
        line.settle(ask, reply, VOID)
    used = line.use()
    assert used["req_found"] * used["req_factor"] == pytest.approx(80, abs=1.5)
    line.let_pass(seconds=55)
    assert line.one()[1].wait_s > 5, "the minute is full, though the server's wait is over"
    line.let_pass(seconds=60 * WINDOW_S)
    line.one()
    assert "req_found" not in line.use()
    granted(line, 300)


@pytest.mark.parametrize(
    ("calls", "kind", "retry_after_s"), [(3, "rpm", 50), (100, "rpm", 0.5), (100, "unnamed", 50)]
)
def test_not_every_429_shows_a_limit(
    store: Store, calls: int, kind: str, retry_after_s: float
) -> None:
    """Not one on the third call of a minute, nor one for the moment, nor one of no quota."""
    line = Line(store, limits())
    line.refuse(granted(line, calls)[-1][1], kind=kind, retry_after_s=retry_after_s)
    assert "req_found" not in line.use()


def test_a_refusal_told_twice_costs_one_call_at_most(store: Store) -> None:
    """The reply got lost: the second time is taken for one more call of the same excess."""
    line = Line(store, limits(rpm=130))
    calls = granted(line, 130)
    line.refuse(calls[-1][1])
    line.refuse(calls[-1][1])
    assert line.use()["req_factor"] >= 0.98 - 1 / 130


def test_a_limit_30_percent_too_high_is_lived_with(store: Store) -> None:
    """Twenty minutes against the stand-in's quota of 100 where the file says 130.

    The rate comes to the true limit and stays there. Time passes as the calls need it.
    """
    line = Line(store, limits(rpm=130))
    server = ModelQuota(rpm=100, tpm=None, rpd=None, clock=lambda: datetime.now(UTC))
    asks = deque(line.new_asks([1] * 2_000))
    passed_s = 0.0
    refused: list[float] = []
    factors: list[float] = []
    start_s = line.now_s()
    while asks:
        group = [asks.popleft() for _ in range(min(64, len(asks)))]
        replies = line.ask(*group)
        asks.extendleft(reversed(group[len(replies) :]))
        for ask, reply in zip(group, replies, strict=False):
            if reply.verdict is Verdict.AT:
                asks.appendleft(ask)
                wait_s = math.ceil(reply.wait_s * 10) / 10
                line.let_pass(seconds=wait_s)
                passed_s += wait_s
                continue
            violations = server.admit(line.now_s() + passed_s, 1, 1)
            if violations:
                asks.append(ask)
                refused.append(passed_s)
                line.refuse(reply, retry_after_s=violations[0].retry_s)
            line.settle(ask, reply, VOID if violations else 1)
        factors.append(line.use().get("req_factor", 1))
    minutes = (line.now_s() + passed_s - start_s) / 60
    assert minutes < 1.05 * 19, "2,000 calls at 100 a minute, the first of them at once"
    late = factors[len(factors) // 3 :]
    assert 98 <= 130 * min(late) <= 130 * max(late) <= 106
    assert len(refused) < 0.05 * 2_000
