"""What the jobs cost, and what they would have cost on one tier."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from promptyard.cli.tally import Tally
from promptyard.cli.words import amount, dollars
from promptyard.job import Usage
from promptyard.names import Tier
from promptyard_worker.report.gathering import Gathering
from promptyard_worker.report.parts import Bars, Chart, Section, Table, numbers, share, text


def cost(gathered: Gathering) -> Section:
    """Cost per tier, and against one tier for all."""
    tally = gathered.tally
    tables = [
        Table("Cost by tier", _COLUMNS, tuple(_rows(tally))),
        Table("Cost by model", _MODEL_COLUMNS, tuple(_model_rows(gathered))),
    ]
    if tally.cost_if_usd:
        tables.insert(0, _compared(tally))
    chart = Chart(_bars(tally), "Cost, and the same tokens at the price of one tier")
    lead = (
        "The comparison prices the same tokens; another model would have written, and thought, "
        "more or less."
        if tally.cost_if_usd
        else ""
    )
    return Section("Cost", tuple(tables), chart=chart if tally.cost_usd else None, lead=lead)


_TOKENS: Final = ("tokens in", "out", "thinking", "cost")
_COLUMNS: Final = text("tier") + numbers("jobs", "share", *_TOKENS, "per 1,000 jobs")
_MODEL_COLUMNS: Final = text("model") + numbers("calls", *_TOKENS)


def _rows(tally: Tally) -> list[tuple[str, ...]]:
    rows = [
        _row(tier, found.jobs, tally.results, found.usage, found.cost_usd)
        for tier, found in tally.tiers.items()
        if found.jobs
    ]
    if tally.untiered:
        rows.append(_row("(none)", tally.untiered, tally.results, Usage(), 0.0))
    usage = Usage.total(found.usage for found in tally.tiers.values())
    return [*rows, _row("all", tally.results, tally.results, usage, tally.cost_usd)]


def _row(name: str, jobs: int, of: int, usage: Usage, cost_usd: float) -> tuple[str, ...]:
    return (
        name,
        f"{jobs:,}",
        share(jobs, of),
        *_billed(usage, cost_usd),
        dollars(1000 * cost_usd / jobs) if jobs else "-",
    )


def _model_rows(gathered: Gathering) -> Iterator[tuple[str, ...]]:
    for name, found in sorted(gathered.calls.models.items()):
        yield name, f"{found.calls:,}", *_billed(found.usage, found.cost_usd)


def _billed(usage: Usage, cost_usd: float) -> tuple[str, ...]:
    return (
        amount(usage.prompt_tokens),
        amount(usage.output_tokens),
        amount(usage.thinking_tokens),
        dollars(cost_usd),
    )


def _compared(tally: Tally) -> Table:
    rows = [("as routed", dollars(tally.cost_usd), "")]
    rows += [
        (f"all {tier}", dollars(cost_usd), compared(cost_usd, tally.cost_usd))
        for tier, cost_usd in tally.cost_if_usd.items()
    ]
    return Table("Cost compared", text("") + numbers("cost", "difference"), tuple(rows))


def compared(other_usd: float, spent_usd: float) -> str:
    """How much dearer another way is."""
    return f"{other_usd / spent_usd - 1:+.0%}" if spent_usd else "-"


def _bars(tally: Tally) -> Bars:
    others = list(tally.cost_if_usd)
    return Bars(
        ("as routed", *(f"all {tier}" for tier in others)),
        {
            tier: [
                tally.tiers[tier].cost_usd,
                *(tally.cost_if_usd[tier] if other is tier else 0.0 for other in others),
            ]
            for tier in Tier
        },
        unit="usd",
    )
