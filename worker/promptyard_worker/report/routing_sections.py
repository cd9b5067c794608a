"""Where the jobs went, and how sure that was."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Final

from promptyard.cli.words import count, dollars
from promptyard.names import Tier
from promptyard_worker.report.gathering import Gathering, RouteCounts
from promptyard_worker.report.margins import BINS, WIDTH, Unsure
from promptyard_worker.report.parts import (
    Bars,
    Chart,
    Section,
    Steps,
    Table,
    numbers,
    share,
    text,
)

#: Routes with a bar of their own; the table has them all.
_BARS: Final = 12


def routes(gathered: Gathering) -> Section:
    """How the jobs were distributed."""
    ranked = sorted(gathered.routes.items(), key=lambda item: -item[1].jobs)
    decided = sum(found.jobs for _, found in ranked)
    rows = tuple(_route_row(name, found, decided) for name, found in ranked)
    columns = text("route", "tier") + numbers("jobs", "share", "no answer", "cost")
    stages = sorted(gathered.stages.items(), key=lambda item: -item[1].total())
    stage_rows = tuple(
        (name, f"{found.total():,}", share(found.total(), decided)) for name, found in stages
    )
    remarks = []
    if any(name.startswith("(") for name, _ in ranked):
        remarks.append("Names in parentheses are what decided where no route did.")
    if gathered.unrouted:
        remarks.append(f"{count(gathered.unrouted, 'job')} ended before anything was decided.")
    return Section(
        "Routes",
        (
            Table("Jobs by route", columns, rows),
            Table("Decided by", text("stage") + numbers("jobs", "share"), stage_rows),
        ),
        chart=Chart(_route_bars(ranked), "Jobs by route and tier") if ranked else None,
        lead=" ".join(remarks),
    )


def _route_row(name: str, found: RouteCounts, decided: int) -> tuple[str, ...]:
    return (
        name,
        ", ".join(sorted(found.tiers)),
        f"{found.jobs:,}",
        share(found.jobs, decided),
        f"{found.unanswered:,}",
        dollars(found.cost_usd),
    )


def _route_bars(ranked: list[tuple[str, RouteCounts]]) -> Bars:
    shown, rest = ranked[:_BARS], ranked[_BARS:]
    labels = [name for name, _ in shown]
    series = {tier: [float(found.tiers[tier]) for _, found in shown] for tier in Tier}
    if rest:
        labels.append(f"{len(rest)} more")
        for tier, parts in series.items():
            parts.append(float(sum(found.tiers[tier] for _, found in rest)))
    return Bars(tuple(labels), {tier: parts for tier, parts in series.items() if any(parts)})


def margins(gathered: Gathering) -> Section | None:
    """How sure the decisions were; None if none has a margin."""
    found = gathered.margins
    if not found.count:
        return None
    series = {
        stage: [bins[number] for number in range(BINS)]
        for stage, bins in sorted(found.stages.items())
    }
    last = max(number for bins in found.stages.values() for number in bins)
    totals = list(accumulate(map(sum, zip(*series.values(), strict=True))))
    rows = tuple(
        (
            _range(number),
            *(f"{bins[number]:,}" for bins in series.values()),
            share(totals[number], found.count),
        )
        for number in range(last + 1)
    )
    columns = text("margin") + numbers(*series, "up to here")
    return Section(
        "Margins",
        (Table("Decisions by margin", columns, rows, is_detail=True),),
        chart=Chart(
            Steps(WIDTH, {stage: bins[: last + 1] for stage, bins in series.items()}, "margin"),
            "Decisions by margin and stage",
        ),
        lead=(
            "How far a decision was from another one: the lead of the best route over the second, "
            "or the distance of a probability from the nearest bar. Stages measure differently. "
            f"{count(found.count, 'decision')} have a margin; rules and jobs that name their tier "
            "or model have none."
        ),
    )


def _range(number: int) -> str:
    low = f"{number * WIDTH:.2f}"
    return f"{low} and more" if number == BINS - 1 else f"{low} to {(number + 1) * WIDTH:.2f}"


def least_sure(gathered: Gathering, prompts: Mapping[str, str] | None) -> Section | None:
    """The decisions that could most easily have gone another way.

    Args:
        gathered: what was counted.
        prompts: text by job id; None: prompts are not shown.
    """
    found = gathered.margins.least_sure()
    if not found:
        return None
    columns = text("margin", "line", "job", "route", "by", "best scores", "ended")
    rows = tuple(_unsure_row(unsure) for unsure in found)
    notes = () if prompts is None else [prompts.get(one.job_id, "(not found)") for one in found]
    hint = "" if prompts is not None else " --prompts shows their prompts."
    return Section(
        "Least sure decisions",
        (Table(f"The {len(rows)} with the smallest margins", columns, rows, tuple(notes)),),
        lead=f"Prompts like these are worth an utterance, or a label for promptyard fit.{hint}",
    )


def _unsure_row(unsure: Unsure) -> tuple[str, ...]:
    route = f"{unsure.route} ({unsure.tier})" if unsure.route != unsure.tier else unsure.route
    return (
        f"{unsure.margin:.4f}",
        str(unsure.line or ""),
        unsure.name,
        route,
        unsure.stage,
        unsure.scores,
        unsure.status,
    )
