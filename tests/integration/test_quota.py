"""The shared quota: no rolling minute over the limit, none of it wasted."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import redis

from promptyard.store import Store, keys
from promptyard.store.quota import VOID, Ask, Verdict
from tests.integration.quota_line import MINUTE_S, MODEL, WINDOW_S, Line, limits

#: (moment of the call, tokens)
Grant = tuple[float, int]


def fullest_minute(grants: Sequence[Grant], tpm: float = float("inf")) -> tuple[int, int]:
    """Most calls, and most tokens, in 60 s, wherever they begin.

    Prompts of more tokens than a minute has must be alone in theirs; they count for nothing then.
    """
    ordered = sorted(grants)
    calls = most_calls = tokens = most_tokens = start = 0
    for at_s, size in ordered:
        while ordered[start][0] <= at_s - MINUTE_S:
            tokens -= ordered[start][1]
            start += 1
            calls -= 1
        calls += 1
        tokens += size
        most_calls = max(most_calls, calls)
        if not (calls == 1 and size > tpm):
            most_tokens = max(most_tokens, tokens)
    return most_calls, most_tokens


@pytest.mark.parametrize("seed", range(12))
def test_no_minute_has_more_than_the_limits(store: Store, seed: int) -> None:
    """Random limits, prompts and processes; grants taken back, and tokens refunded, in between."""
    rng = random.Random(seed)
    rpm, tpm = rng.choice([None, 1, 7, 60, 300]), rng.choice([None, 1_000, 100_000])
    if rpm is None and tpm is None:
        rpm, tpm = 40, 5_000
    of = {name: most for name, most in (("rpm", rpm), ("tpm", tpm)) if most}
    line = Line(store, limits(**of), spread_s=rng.choice([0.0, 5.0]))
    sizes = [min(int(rng.lognormvariate(5, 1.5)) + 1, 3 * (tpm or 10**9)) for _ in range(400)]
    kept: list[Grant] = []
    for at_s, ask, reply in line.grants(
        line.new_asks(sizes), group=lambda: rng.choice([1, 3, 64]), processes=4
    ):
        asked_for = int(reply.ticket.split(":")[1])
        fate = rng.random()
        if fate < 0.1:
            line.settle(ask, reply, VOID)
        elif fate < 0.4:
            tokens = rng.randint(asked_for // 2, asked_for)
            line.settle(ask, reply, tokens)
            kept.append((at_s, tokens))
        else:
            kept.append((at_s, asked_for))
    gaps = [after[0] - before[0] for before, after in pairwise(kept)]
    assert min(gaps) > -1e-5, "grants are in the order of the asks"
    calls, tokens = fullest_minute(kept, tpm or float("inf"))
    assert calls <= (rpm or calls)
    assert tokens <= (tpm or tokens)


@pytest.mark.parametrize(("rpm", "minutes"), [(1, 40), (15, 20), (100, 10), (1_000, 2)])
def test_requests_are_handed_out_at_the_limit(store: Store, rpm: int, minutes: int) -> None:
    """The last of so many calls comes 2 % later at most than Google would allow it."""
    line = Line(store, limits(rpm=rpm))
    asks = line.new_asks([1] * (rpm * minutes + 1))
    times = [at_s for at_s, _, _ in line.grants(asks, group=lambda: 64, processes=4)]
    assert minutes * MINUTE_S < times[-1] - times[0] < minutes * MINUTE_S * 1.02
    assert fullest_minute([(at_s, 0) for at_s in times])[0] == rpm


def test_tokens_are_handed_out_at_the_limit(store: Store) -> None:
    """Skewed prompts of up to 5 % of a minute: an hour of them takes 5 % longer at most."""
    rng = random.Random(5)
    tpm, minutes = 100_000, 60
    sizes: list[int] = []
    while sum(sizes) < (minutes + 0.5) * tpm:
        sizes.append(min(int(rng.lognormvariate(7, 1.2)) + 1, tpm // 20))
    line = Line(store, limits(tpm=tpm))
    grants = [
        (at_s, ask.tokens)
        for at_s, ask, _ in line.grants(line.new_asks(sizes), group=lambda: 8, processes=4)
    ]
    took_s = grants[-1][0] - grants[0][0]
    assert minutes * MINUTE_S < took_s < minutes * MINUTE_S * 1.05
    assert fullest_minute(grants)[1] <= tpm


def test_an_allowance_is_no_single_blow(store: Store) -> None:
    """With room for all, a minute's calls still take spread_s, evenly."""
    line = Line(store, limits(rpm=50), spread_s=5.0)
    times = [at_s for at_s, _, _ in line.grants(line.new_asks([1] * 50), group=lambda: 64)]
    gaps = [after - before for before, after in pairwise(times)]
    assert times[-1] - times[0] == pytest.approx(49 * 0.1, abs=0.02)
    assert max(gaps) < 0.12


def test_a_long_prompt_is_not_starved(store: Store) -> None:
    """It holds its place: short ones that would fit before it come after it."""
    line = Line(store, limits(tpm=1_000))
    asks = line.new_asks([900, 800, 10, 10])
    times = [at_s for at_s, _, _ in line.grants(asks, group=lambda: 1, processes=4)]
    assert times[1] - times[0] == pytest.approx(WINDOW_S, abs=0.2)
    assert times[2:] == pytest.approx([times[1]] * 2, abs=1e-5)


@pytest.mark.parametrize("passed_s", [0, 30, 59.5, 60.5])
def test_a_grant_counts_for_the_whole_minute(store: Store, passed_s: float) -> None:
    """Our minute, to the end, whenever the next one asks."""
    line = Line(store, limits(rpm=1))
    first_s, _ = line.timed(line.new_asks())[0]
    line.let_pass(seconds=passed_s)
    second_s, _ = line.timed(line.new_asks())[0]
    assert second_s + passed_s - first_s >= WINDOW_S


def test_a_prompt_of_more_than_a_minute_waits_until_it_is_alone(store: Store) -> None:
    """It would never fit; the next one comes a minute after it. Calls without tokens are none."""
    line = Line(store, limits(tpm=1_000))
    ask, reply = line.one(500)
    line.settle(ask, reply, 0)
    asks = line.new_asks([3_000, 5, 3_000])
    times = [at_s for at_s, _, _ in line.grants(asks, group=lambda: 1)]
    assert times[0] - line.now_s() < 1
    assert times[1] - times[0] == pytest.approx(WINDOW_S, abs=0.2)
    assert times[2] - times[1] == pytest.approx(WINDOW_S, abs=0.2)


def test_a_grant_stays_the_same_however_often_it_is_asked_for(store: Store) -> None:
    """A question whose reply got lost is asked again: nothing is counted twice, or booked anew."""
    line = Line(store, limits(rpm=2, max_concurrency=5))
    asks = line.new_asks([7] * 3)
    first = [line.timed([ask])[0] for ask in asks]
    before = line.use()
    again = [line.timed([ask])[0] for ask in asks]
    assert [reply.verdict for _, reply in first] == [Verdict.GO, Verdict.GO, Verdict.AT]
    assert [reply.verdict for _, reply in again] == [Verdict.GO, Verdict.GO, Verdict.AT]
    assert again[2][1].ticket == first[2][1].ticket
    assert again[2][0] == pytest.approx(first[2][0], abs=0.11)
    after = line.use()
    assert [after[name] - before[name] for name in ("req", "tok", "day_used")] == [0, 0, 0]


def test_a_grant_that_is_taken_up_late_counts_late(store: Store) -> None:
    """A process that slept through its time calls now: its minute begins now."""
    line = Line(store, limits(rpm=1))
    ask, _ = line.one()
    line.let_pass(seconds=30)
    before_s = line.now_s()
    assert line.ask(ask)[0].verdict is Verdict.GO
    assert line.use()["req"] == 1
    at_s, _ = line.timed(line.new_asks())[0]
    assert before_s + MINUTE_S < at_s < before_s + WINDOW_S + 0.3


def test_a_grant_whose_successor_has_its_place_is_booked_anew(store: Store) -> None:
    """Late by half a second it may still go; by more, two calls would fall into one minute."""
    line = Line(store, limits(rpm=1))
    ask, first = line.one()
    after_s, _ = line.timed(line.new_asks())[0]
    line.let_pass(seconds=0.3)
    assert line.ask(ask)[0].verdict is Verdict.GO
    line.let_pass(seconds=1)
    at_s, anew = line.timed([ask])[0]
    assert anew.verdict is Verdict.AT
    assert anew.ticket != first.ticket
    assert at_s > after_s - 1.3 + MINUTE_S
    assert line.use()["day_used"] == 2


def test_another_safety_forgets_nothing(store: Store) -> None:
    """Workers that read a file anew at different times share the buckets, and tickets stay good."""
    line = Line(store, limits(rpm=2))
    other = Line(store, limits(rpm=2, window_s=66.0))
    asks = [one.new_asks()[0] for one in (line, other, line)]
    times = [one.timed([ask])[0] for one, ask in zip((line, other, line), asks, strict=True)]
    assert [reply.verdict for _, reply in times] == [Verdict.GO, Verdict.GO, Verdict.AT]
    at_s, waits = other.timed([asks[2]])[0]
    assert waits.verdict is Verdict.AT
    assert at_s == pytest.approx(times[2][0], abs=0.11)


def test_real_tokens_take_the_place_of_the_estimate(store: Store) -> None:
    """A refund makes room, a charge takes it, and what was void counts nowhere."""
    line = Line(store, limits(tpm=1_000, rpm=100))
    (first, granted), (second, also) = line.one(500), line.one(500)
    assert line.settle(first, granted, 100) == 1
    assert line.use()["tok"] == 600
    assert line.settle(second, also, 800) == 1
    assert line.use()["tok"] == 900
    third, unused = line.one(1)
    assert (line.settle(third, unused, VOID), line.use()["req"]) == (1, 2)
    assert line.use()["day_used"] == 2
    fourth, unknown = line.one(1)
    tokens = line.use()["tok"]
    assert (line.settle(fourth, unknown, None), line.use()["tok"]) == (1, tokens)


@pytest.mark.parametrize("tokens", [3, 300, VOID, None])
def test_settling_twice_changes_nothing(store: Store, tokens: int | str | None) -> None:
    """The reply got lost, so it is sent again: sums, log and ratio are as after the first."""
    line = Line(store, limits(tpm=1_000, rpm=100, max_concurrency=1))
    ask, reply = line.one(50)
    assert line.settle(ask, reply, tokens) == 1
    before = line.use()
    other, taken = line.one(50)
    assert line.settle(ask, reply, tokens) == 0
    assert line.settle(other, taken, VOID) == 1
    after = line.use()
    for name in ("req", "tok", "day_used", "real", "estimated"):
        assert after.get(name) == before.get(name), name


def test_another_workers_grant_is_left_alone(store: Store, raw: redis.Redis) -> None:
    """A worker that was thought dead comes back: the job's new grant and slot stay."""
    line = Line(store, limits(rpm=10, max_concurrency=1))
    ask, old = line.one(5)
    raw.hset(keys.job(ask.job_id), "lease", "of another")
    taken = Ask(ask.job_id, "of another", 6, 0.001)
    assert line.ask(taken)[0].verdict is Verdict.GO
    assert line.settle(ask, old, VOID) == 0
    assert line.one()[1].verdict is Verdict.FULL
    assert line.use()["req"] == 2, "the first call may have been made"


def test_a_refund_of_a_bucket_that_has_left_is_dropped(store: Store, raw: redis.Redis) -> None:
    """An answer after more than a minute: nothing of it counts any more, in either direction."""
    line = Line(store, limits(tpm=1_000))
    ask, reply = line.one(400)
    line.let_pass(seconds=62)
    line.one(300)
    bucket, rest = reply.ticket.split(":", 1)
    assert line.settle(ask, replace(reply, ticket=f"{int(bucket) - 620}:{rest}"), 900) == 1
    assert line.use()["tok"] == 300
    assert raw.hlen(f"{keys.quota(MODEL)}:log") == 2, "nothing comes back"


def test_sums_and_log_agree(store: Store, raw: redis.Redis) -> None:
    """After a thousand grants, refunds, charges and voids the sums are those of the log."""
    rng = random.Random(3)
    line = Line(store, limits(rpm=50, tpm=20_000))
    asks = line.new_asks([rng.randint(1, 900) for _ in range(1_000)])
    grants = list(line.grants(asks, group=lambda: rng.choice([1, 5])))
    for _, ask, reply in grants:
        if rng.random() < 0.8:
            line.settle(ask, reply, rng.choice([VOID, None, rng.randint(1, 1_800)]))
    agree(line, raw)
    line.let_pass(seconds=math.ceil(grants[-1][0] - line.now_s()))
    for seconds in (0, 45, 45, 45):
        line.let_pass(seconds=seconds)
        line.one()
        agree(line, raw)
    oldest = min(int(field[1:]) for field in raw.hkeys(f"{keys.quota(MODEL)}:log"))
    assert oldest > (line.now_s() - WINDOW_S - 1) * 10, "what has left the minute is deleted"
    line.let_pass(seconds=200)
    line.one()
    assert raw.hlen(f"{keys.quota(MODEL)}:log") == 2, "also after a pause"


def agree(line: Line, raw: redis.Redis) -> None:
    """The sums are those of the log, from where they begin."""
    log = raw.hgetall(f"{keys.quota(MODEL)}:log")
    use = line.use()
    for name, letter in (("req", b"r"), ("tok", b"t")):
        counts = {int(field[1:]): int(n) for field, n in log.items() if field[:1] == letter}
        assert use[name] == sum(n for bucket, n in counts.items() if bucket >= use["tail"])


def test_estimates_learn_from_what_was_real(store: Store) -> None:
    """Estimated 100, real 150, over and over: 150 are reserved. One odd prompt says little."""
    line = Line(store, limits(rpm=1_000, tpm=1_000_000))
    ask, reply = line.one(1)
    line.settle(ask, reply, 60)
    assert 1_000 <= reserved(line, 1_000) < 1_070
    for ask in line.new_asks([100] * 1_000):
        line.settle(ask, line.ask(ask)[0], 150)
    assert reserved(line, 100) == 150
    for ask in line.new_asks([100_000] * 40):
        line.settle(ask, line.ask(ask)[0], 100_000)
    assert reserved(line, 1_000) <= 1_010, "it looks back over a million tokens, not for ever"


def reserved(line: Line, tokens: int) -> int:
    """What an ask of so many estimated tokens is counted as."""
    return int(line.one(tokens)[1].ticket.split(":")[1])
