"""The frame of `promptyard top`, and the rates it shows."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from promptyard.batch import BatchState, BatchStatus
from promptyard.job import JobState
from promptyard.names import QUEUES, Tier
from promptyard.store.health import Breaker, ModelHealth, QuotaUse
from promptyard_worker.top.frame import frame
from promptyard_worker.top.look import Look, QueueLook
from promptyard_worker.top.rates import WINDOW_S, Meter, Rates
from tests.report_results import CATALOG, FLASH, LITE, NOON, PRO

NOON_S = NOON.timestamp()
LONG_ID = "3b7e2c1a-9d4f-4e8a-b6c5-0123456789ab"


def batch(
    name: str = "b1", *, ended: int = 0, cost_usd: float = 0.0, created: datetime = NOON
) -> BatchStatus:
    """A running batch of a million jobs."""
    return BatchStatus(
        id=name,
        state=BatchState.RUNNING,
        total=1_000_000,
        counts={JobState.SUCCEEDED: ended},
        tiers={},
        cost_usd=cost_usd,
        created=created,
        metadata={"source": "a-file-of-prompts-with-a-long-name.jsonl"},
    )


def look(at_s: float = 0.0, *batches: BatchStatus, models: tuple[ModelHealth, ...] = ()) -> Look:
    """A yard so many seconds after noon, a thousand jobs on each queue."""
    queues = tuple(QueueLook(name, 123_456, 3_723.0, 12, 512) for name in QUEUES)
    return Look(NOON_S + at_s, queues, 1_500, models, CATALOG, batches)


def printed(seen: Look, rates: Rates | None = None, *, width: int = 80, height: int = 0) -> str:
    """A frame as text."""
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=False)
    console.print(frame(seen, rates, width=width, height=height))
    return out.getvalue()


def test_one_look_has_no_rate() -> None:
    """Counters say nothing of when they moved."""
    assert Meter().add(look(0, batch(ended=500))) is None


def test_rates_are_what_the_counters_moved() -> None:
    """Between two looks; jobs a second, dollars a minute."""
    meter = Meter()
    meter.add(look(0, batch(ended=100, cost_usd=1.0)))
    rates = meter.add(look(2, batch(ended=120, cost_usd=1.1)))
    assert rates is not None
    assert (rates.jobs_per_s, rates.over_s) == (10.0, 2.0)
    assert rates.usd_per_min == pytest.approx(3.0)


def test_rates_are_of_the_last_minute() -> None:
    """What went before is forgotten."""
    meter, rates = Meter(), None
    for second in range(200):
        rates = meter.add(look(second, batch(ended=second * (100 if second < 100 else 1))))
    assert rates is not None
    assert rates.over_s == WINDOW_S
    assert rates.jobs_per_s == pytest.approx(1.0, abs=0.1)


def test_a_new_batch_counts_from_its_beginning() -> None:
    """One that comes back into the list does not: nobody looked at it meanwhile."""
    meter = Meter()
    meter.add(look(0))
    rates = meter.add(
        look(
            10,
            batch("new", ended=50, created=NOON + timedelta(seconds=5)),
            batch("old", ended=900, created=NOON - timedelta(days=1)),
        )
    )
    assert rates is not None
    assert rates.jobs_per_s == 5.0


def test_a_retry_does_not_make_rates_negative() -> None:
    """It puts jobs back: fewer have ended."""
    meter = Meter()
    meter.add(look(0, batch(ended=100)))
    rates = meter.add(look(1, batch(ended=40)))
    assert rates is not None
    assert rates.jobs_per_s == 0.0


def test_a_frame_fits_80_columns() -> None:
    """With large numbers, long names and ids."""
    long = ModelHealth(
        name="projects/somebody/locations/europe-west4/models/gemini-2.5-pro-preview",
        tier=Tier.PRO,
        quota=QuotaUse(requests=123_456, tokens=98_765_432, day_requests=1_234_567),
        parked=1_000_000,
    )
    seen = look(0, batch(LONG_ID, ended=999_999, cost_usd=12_345.67), models=(long,))
    text = printed(seen, Rates(1234.5, 99.99, 60.0))
    assert max(map(len, text.splitlines())) <= 80
    assert "1,500/1,536 slots busy" in text
    assert "1,234.5 jobs/s" in text
    assert "$99.99/min" in text
    assert "1.00M parked" in text
    assert "1 h 02 min" in text
    assert "$12,345.67" in text


def test_a_wide_screen_shows_whole_ids() -> None:
    """They are what other commands ask for."""
    assert LONG_ID in printed(look(0, batch(LONG_ID)), width=120)


def test_models_show_quota_and_what_holds_them_up() -> None:
    """Used of allowed where the file names a limit; breakers and pauses, in words too."""
    now = datetime.now(UTC)
    models = (
        ModelHealth(name=PRO, tier=Tier.PRO, quota=QuotaUse(requests=8, tokens=990)),
        ModelHealth(
            name=FLASH,
            tier=Tier.FLASH,
            breaker=Breaker(
                reason="unauthenticated", since=now, open_until=now + timedelta(seconds=30)
            ),
        ),
        ModelHealth(name=LITE, tier=Tier.LITE, tier_paused_since=now),
    )
    lines = printed(look(models=models)).splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line.startswith(" gemini")}
    assert rows[PRO][1:] == ["8/10", "990/1,000", "0", "0", "pass"]
    said = " ".join(lines)
    assert "breaker" in said
    assert "the key is refused" in said
    assert "tier lite paused since" in said


def test_a_small_screen_shows_fewer_batches() -> None:
    """What matters more is above them."""
    seen = look(0, *(batch(f"b{number}") for number in range(10)))
    assert "b0" in printed(seen, height=18)
    assert "b5" not in printed(seen, height=18)
    assert "b9" in printed(seen, height=50)


def test_names_move_no_cursor() -> None:
    """A batch id or a source is whatever a producer says."""
    text = printed(look(0, batch("[red]x\x1b[2J\n")))
    assert "\x1b" not in text
    assert "[red]x [2J" in text
