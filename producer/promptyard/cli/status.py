"""``promptyard status``: batches, models and routes, as tables or JSON."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from promptyard.batch import BatchStatus, Pause
from promptyard.cli.options import print_json, stdout_console
from promptyard.cli.troubles import routes_table, troubles, troubles_table
from promptyard.cli.words import count, dollars
from promptyard.control import exact_dollars
from promptyard.errors import BudgetSpent
from promptyard.job import JobState
from promptyard.producer import Producer


def show_batch(producer: Producer, batch_id: str, *, as_json: bool) -> None:
    """One batch in full."""
    batch = producer.status(batch_id)
    if as_json:
        print_json(batch)
    else:
        stdout_console().print(status_table(batch))


def show_yard(producer: Producer, *, as_json: bool) -> None:
    """The models that are not well, and the recent batches."""
    models, batches = producer.models(), producer.batches()
    if as_json:
        print_json(
            {
                "models": [model.model_dump(mode="json") for model in models],
                "batches": [batch.model_dump(mode="json") for batch in batches],
            }
        )
        return
    console = stdout_console()
    if found := troubles(models):
        console.print(troubles_table(found))
    console.print(batch_table(batches))


def show_routes(producer: Producer, *, as_json: bool) -> None:
    """How the answers of each route did."""
    routes = producer.routes()
    if as_json:
        print_json([route.model_dump(mode="json") for route in routes])
    else:
        stdout_console().print(routes_table(routes))


def stopped_at_budget(batch: BatchStatus, *, again: str) -> BudgetSpent:
    """What to say of a batch that stands still for its budget.

    Args:
        batch: its counters.
        again: what to do once it has been resumed.
    """
    least_usd = batch.cost_usd + batch.short_usd
    likely = ""
    if batch.finished and batch.cost_usd:
        whole_usd = batch.cost_usd / batch.finished * batch.total
        likely = f" (by what has finished, all of it comes to {dollars(whole_usd)})"
    return BudgetSpent(
        f"Batch {batch.id} is paused: {dollars(batch.cost_usd)} of its "
        f"{dollars(batch.max_cost_usd or 0)} are spent, its next call may cost "
        f"{dollars(batch.short_usd)}, {count(batch.open, 'job')} to go. Give it at least "
        f"{exact_dollars(least_usd)}{likely} with "
        f"`promptyard resume {batch.id} --max-cost-usd N`; {again}",
        batch_id=batch.id,
        spent_usd=batch.cost_usd,
        least_usd=least_usd,
    )


def batch_table(batches: Sequence[BatchStatus]) -> Table:
    """Recent batches, one a row."""
    table = Table("batch", "state", "source", "created")
    for column in ("jobs", "finished", "failed", "cost"):
        table.add_column(column, justify="right")
    for batch in batches:
        table.add_row(
            batch.id,
            f"{batch.state} ({batch.paused})" if batch.paused else batch.state,
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
    table.add_row("state", _state(batch))
    for name, value in batch.metadata.items():
        table.add_row(name, value)
    table.add_row("created", f"{batch.created.astimezone():%Y-%m-%d %H:%M:%S}")
    table.add_row("jobs", f"{batch.total:,}, {batch.finished:,} finished")
    states = [f"{number:,} {state}" for state, number in batch.counts.items() if number]
    table.add_row("states", ", ".join(states))
    for tier, part in batch.tiers.items():
        table.add_row(tier, f"{part.finished:,} of {part.routed:,}")
    table.add_row(
        "retries",
        f"{batch.retries:,}, {batch.fallbacks:,} of them to another model, "
        f"{batch.escalations:,} to a stronger one",
    )
    if batch.revived:
        table.add_row("put back", f"{batch.revived:,} that had failed")
    usage = batch.usage
    table.add_row(
        "tokens",
        f"{usage.prompt_tokens:,} in, {usage.output_tokens:,} out, "
        f"{usage.thinking_tokens:,} thinking",
    )
    table.add_row("cost", _cost(batch))
    return table


def _state(batch: BatchStatus) -> str:
    if batch.paused is None:
        return batch.state
    higher = " --max-cost-usd N" if batch.paused is Pause.BUDGET else ""
    return f"{batch.state} ({batch.paused}): promptyard resume {batch.id}{higher}"


def _cost(batch: BatchStatus) -> str:
    if batch.max_cost_usd is None:
        return dollars(batch.cost_usd)
    in_flight = f", up to {dollars(batch.held_usd)} in flight" if batch.held_usd else ""
    return f"{dollars(batch.cost_usd)} of {dollars(batch.max_cost_usd)}{in_flight}"
