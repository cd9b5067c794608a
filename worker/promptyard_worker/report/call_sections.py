"""How long calls took, how fast they went out, which failed, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from promptyard.cli.histogram import Histogram
from promptyard.cli.words import amount, count, seconds
from promptyard.names import Tier
from promptyard_worker.report.calls import Followed, ModelCalls
from promptyard_worker.report.gathering import Gathering
from promptyard_worker.report.parts import (
    Bars,
    Chart,
    Pace,
    Paces,
    Ranges,
    Section,
    Table,
    numbers,
    share,
    text,
)
from promptyard_worker.report.timeline import Timeline

_SHOWN: Final = (0.50, 0.90, 0.95, 0.99)
_DRAWN: Final = (0.50, 0.90, 0.99)
#: Rows of the table of a timeline.
_ROWS: Final = 24


def latency(gathered: Gathering) -> Section:
    """Percentiles by tier, and the calls by model."""
    measures = list(_measures(gathered))
    percentiles = numbers(*(f"p{100 * q:.0f}" for q in _SHOWN))
    rows = tuple(
        (tier, what, f"{found.count:,}", *(seconds(found.quantile_s(q)) for q in _SHOWN))
        for tier, what, found in measures
    )
    models = tuple(_model_row(name, found) for name, found in sorted(gathered.calls.models.items()))
    by_tier = text("tier", "from, to") + numbers("jobs") + percentiles
    by_model = text("model") + numbers("calls", "failed") + percentiles
    drawn = [one for one in measures if one[1] != _WAITING]
    return Section(
        "Latency",
        (
            Table("Seconds by tier", by_tier, rows),
            Table("Calls by model", by_model, models),
        ),
        chart=Chart(_ranges(drawn), "Latency, half of the jobs to 99 %") if drawn else None,
        lead="Percentiles are at most 1 % off. A job's calls are added up, failed ones too.",
    )


_WAITING: Final = "accepted to first call"
_CALLING: Final = "in calls"
_WHOLE: Final = "accepted to ended"


def _measures(gathered: Gathering) -> Iterator[tuple[Tier, str, Histogram]]:
    for tier in Tier:
        stations = gathered.stations[tier]
        for what, found in (
            (_WAITING, stations.waiting),
            (_CALLING, gathered.tally.tiers[tier].latency),
            (_WHOLE, stations.whole),
        ):
            if found.count:
                yield tier, what, found


def _ranges(measures: list[tuple[Tier, str, Histogram]]) -> Ranges:
    return Ranges(
        tuple(f"{tier} {what}" for tier, what, _ in measures),
        tuple(_three(found) for _, _, found in measures),
        tuple(tier for tier, _, _ in measures),
    )


def _three(found: Histogram) -> tuple[float, float, float]:
    p50, p90, p99 = (found.quantile_s(q) or 0.0 for q in _DRAWN)
    return p50, p90, p99


def _model_row(name: str, found: ModelCalls) -> tuple[str, ...]:
    return (
        name,
        f"{found.calls:,}",
        f"{found.failed:,}",
        *(seconds(found.latency.quantile_s(q)) for q in _SHOWN),
    )


def throughput(gathered: Gathering) -> Section | None:
    """Calls a minute against quota; None if there were none."""
    timeline = gathered.calls.timeline
    if not timeline.models:
        return None
    columns = text("model") + numbers(
        *("calls", "busiest minute", "quota", "used", "input tokens", "quota", "used")
    )
    paces = Paces(
        timeline.ends_s,
        timeline.width_s,
        tuple(_pace(name, gathered) for name in timeline.models),
    )
    zone = datetime.now().astimezone().tzname()
    return Section(
        "Throughput and quota",
        (
            Table(
                "The busiest minute of each model, and its quota a minute",
                columns,
                tuple(_busiest_row(name, gathered) for name in timeline.models),
            ),
            _count_table(timeline),
        ),
        chart=Chart(paces, f"Calls that began in the minute before (times: {zone})"),
        lead=(
            "Quotas are those of the router file; - where it names none. Input tokens are as the "
            "model counted them."
        ),
    )


def _pace(name: str, gathered: Gathering) -> Pace:
    card = gathered.catalog.models.get(name) if gathered.catalog else None
    return Pace(
        name,
        gathered.calls.timeline.calls_a_minute(name),
        card.rpm if card else None,
        card.tier if card else "",
    )


def _busiest_row(name: str, gathered: Gathering) -> tuple[str, ...]:
    timeline = gathered.calls.timeline
    card = gathered.catalog.models.get(name) if gathered.catalog else None
    return (
        name,
        f"{gathered.calls.models[name].calls:,}",
        *_against(max(timeline.calls_a_minute(name)), card.rpm if card else None),
        *_against(max(timeline.tokens_a_minute(name)), card.tpm if card else None),
    )


def _against(used: float, quota: int | None) -> tuple[str, str, str]:
    if quota is None:
        return amount(round(used)), "-", "-"
    return amount(round(used)), amount(quota), share(used, quota)


def _count_table(timeline: Timeline) -> Table:
    """Calls of each model in as many steps as a table can have."""
    ends_s = timeline.ends_s
    size = -(-len(ends_s) // _ROWS)
    calls = [timeline.calls(name) for name in timeline.models]
    rows = tuple(
        (
            _clock(ends_s[first] - timeline.width_s),
            *(f"{sum(row[first : first + size]):,}" for row in calls),
        )
        for first in range(0, len(ends_s), size)
    )
    caption = f"Calls that began in each {size * timeline.width_s} s"
    return Table(caption, text("from") + numbers(*timeline.models), rows, is_detail=True)


def _clock(moment_s: float) -> str:
    return f"{datetime.fromtimestamp(moment_s, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def failures(gathered: Gathering) -> Section:
    """Calls that failed, and jobs that went to another model."""
    calls = gathered.calls
    if not calls.failures and not calls.moves:
        return Section("Retries and fallbacks", lead="No call failed, no job changed its model.")
    kinds = sorted(calls.failures.items(), key=lambda item: -item[1].total())
    rows = tuple(
        (kind, f"{found.total():,}", *(f"{found[what]:,}" for what in Followed))
        for kind, found in kinds
    )
    moves = sorted(
        ((way, why, jobs) for way, whys in calls.moves.items() for why, jobs in whys.items()),
        key=lambda move: -move[2],
    )
    bars = Bars(
        tuple(kind for kind, _ in kinds),
        {str(what): [float(found[what]) for _, found in kinds] for what in Followed},
    )
    tables = (
        Table("Failed calls, and what followed", text("error") + numbers("calls", *Followed), rows),
        Table(
            "Fallbacks and escalations",
            text("from → to", "why") + numbers("times"),
            tuple((way, why, f"{times:,}") for way, why, times in moves),
        ),
    )
    return Section(
        "Retries and fallbacks",
        tuple(table for table in tables if table.rows),
        chart=Chart(bars, "Failed calls by error, and what followed") if kinds else None,
        lead=(
            f"{count(calls.retries, 'call')} retried, {count(calls.moved, 'move')} to another "
            f"model; {count(calls.waits, 'call')} met a 429 and waited for the quota."
        ),
    )


def errors(gathered: Gathering) -> Section | None:
    """Jobs that ended without an answer; None if there are none."""
    found = sorted(gathered.errors.items(), key=lambda item: -item[1].jobs)
    if not found:
        return None
    rows = tuple(
        (kind or "-", state, f"{one.jobs:,}", share(one.jobs, gathered.jobs), one.first)
        for (state, kind), one in found
    )
    columns = text("error", "state") + numbers("jobs", "share") + text("the first one")
    bars = Bars(
        tuple(f"{kind or '-'}" for (_, kind), _ in found),
        {"jobs": [float(one.jobs) for _, one in found]},
    )
    return Section(
        "Errors",
        (Table("Jobs without an answer, by type of error", columns, rows),),
        chart=Chart(bars, "Jobs without an answer, by type of error"),
        lead="promptyard failed BATCH tells more of each failed job.",
    )
