"""Batches as tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from promptyard.batch import BatchStatus
from promptyard.cli.words import dollars
from promptyard.job import JobState


def batch_table(batches: Sequence[BatchStatus]) -> Table:
    """Recent batches, one a row."""
    table = Table("batch", "state", "source", "created")
    for column in ("jobs", "finished", "failed", "cost"):
        table.add_column(column, justify="right")
    for batch in batches:
        table.add_row(
            batch.id,
            batch.state,
            batch.metadata.get("source", ""),
            f"{batch.created.astimezone():%Y-%m-%d %H:%M:%S}",
            f"{batch.total:,}",
            f"{batch.finished:,}",
            f"{batch.counts.get(JobState.FAILED, 0):,}",
            dollars(batch.cost_usd),
        )
    return table


def status_table(batch: BatchStatus) -> Table:
    """One batch in full."""
    table = Table("batch", batch.id, show_header=True)
    table.add_row("state", batch.state)
    for name, value in batch.metadata.items():
        table.add_row(name, value)
    table.add_row("created", f"{batch.created.astimezone():%Y-%m-%d %H:%M:%S}")
    table.add_row("jobs", f"{batch.total:,}, {batch.finished:,} finished")
    states = [f"{number:,} {state}" for state, number in batch.counts.items() if number]
    table.add_row("states", ", ".join(states))
    for tier, part in batch.tiers.items():
        table.add_row(tier, f"{part.finished:,} of {part.routed:,}")
    table.add_row("retries", f"{batch.retries:,}, {batch.fallbacks:,} of them to another model")
    usage = batch.usage
    table.add_row(
        "tokens",
        f"{usage.prompt_tokens:,} in, {usage.output_tokens:,} out, "
        f"{usage.thinking_tokens:,} thinking",
    )
    table.add_row("cost", dollars(batch.cost_usd))
    return table
