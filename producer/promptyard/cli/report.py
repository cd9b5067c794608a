"""A run's summary as tables and lines for people."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from promptyard.cli.summary import RunSummary
from promptyard.cli.words import amount, count, dollars, seconds, span
from promptyard.job import JobState
from promptyard.names import Tier


def print_report(summary: RunSummary, console: Console) -> None:
    """Print the table per tier, the prices, what went wrong, and the verdict as the last line."""
    if summary.tiers:
        console.print(_tier_table(summary))
    for line in _lines(summary):
        console.print(line, soft_wrap=True)


def _tier_table(summary: RunSummary) -> Table:
    title = "ANSWERS ARE SIMULATED by the stand-in; costs are what the models would take"
    table = Table(
        title=title if summary.simulated else None,
        title_style="bold yellow",
        caption="p50 to p99: time in model calls; in, out, thinking: tokens",
        box=box.SIMPLE_HEAD,  # fits 80 columns
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("tier", no_wrap=True)
    for column in ("jobs", "share", "p50", "p95", "p99", "in", "out", "thinking", "cost"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, tier in summary.tiers.items():
        table.add_row(
            name,
            f"{tier.jobs:,}",
            f"{tier.share:.1%}",
            seconds(tier.p50_s),
            seconds(tier.p95_s),
            seconds(tier.p99_s),
            amount(tier.usage.prompt_tokens),
            amount(tier.usage.output_tokens),
            amount(tier.usage.thinking_tokens),
            dollars(tier.cost_usd),
        )
    return table


def _lines(summary: RunSummary) -> list[Text]:
    lines = [_states(summary), _prices(summary)]
    lines += [Text(f"  line {bad.line}: {bad.message}", "red") for bad in summary.bad_lines]
    if summary.bad > len(summary.bad_lines):
        lines.append(Text(f"  and {summary.bad - len(summary.bad_lines):,} more", "red"))
    lines.append(Text(f"results: {summary.output}  (batch {summary.batch_id})"))
    lines.append(Text(summary.verdict, "bold green" if summary.whole else "bold red"))
    return lines


def _states(summary: RunSummary) -> Text:
    parts = [f"{summary.states[state]:,} {state}" for state in JobState if state in summary.states]
    if summary.bad:
        parts.append(count(summary.bad, "bad line"))
    parts += [count(summary.retries, "call") + " retried", f"in {span(summary.elapsed_s)}"]
    return Text(", ".join(parts))


def _prices(summary: RunSummary) -> Text:
    others = [
        f"all {tier} {dollars(cost)}{_compared(cost, summary.cost_usd)}"
        for tier, cost in summary.cost_if_usd.items()
        if tier in (Tier.PRO, Tier.FLASH)
    ]
    spent = f"cost {dollars(summary.cost_usd)}"
    return Text(f"{spent}; the same tokens {', '.join(others)}" if others else spent)


def _compared(other_usd: float, spent_usd: float) -> str:
    return f" ({other_usd / spent_usd - 1:+.0%})" if spent_usd else ""
