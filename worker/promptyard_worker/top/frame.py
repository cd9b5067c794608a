"""A look as text: what fits into 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from promptyard.batch import BatchStatus
from promptyard.catalog import ModelCard
from promptyard.cli.troubles import troubles
from promptyard.cli.words import amount, dollars, span
from promptyard.job import JobState
from promptyard.store.health import ModelHealth
from promptyard_worker.top.look import Look, QueueLook
from promptyard_worker.top.rates import Rates

#: Batches shown; fewer on a small screen.
_BATCHES: Final = 10
_SHORT_ID: Final = 12
_WHOLE_ID: Final = 36
#: Columns of a screen that has room for whole ids.
_WIDE: Final = 100
_SOURCE: Final = 12
#: Part of a quota in use that is worth a colour.
_TIGHT: Final = 0.9


def frame(
    look: Look, rates: Rates | None, *, width: int, height: int = 0, remark: str = ""
) -> RenderableType:
    """One frame.

    Args:
        look: what was seen.
        rates: None: there was one look only.
        width: columns of the screen.
        height: lines of the screen; 0: as many as it takes.
        remark: what the reader must know first.
    """
    unwell = [
        Text(f" {trouble.model}: {trouble.what}", "red" if trouble.is_failure else "yellow")
        for trouble in troubles(look.models)
    ]
    head = [_head(look, rates), *([Text(f" {remark}", "bold red")] if remark else [])]
    # a table has a line above it, its head, a rule and a line below
    rest = height - len(head) - len(unwell) - len(look.queues) - len(look.models) - 12
    shown = min(_BATCHES, max(1, rest)) if height else _BATCHES
    return Group(
        *head,
        _queues(look),
        _models(look),
        *unwell,
        _batches(look.batches[:shown], _WHOLE_ID if width >= _WIDE else _SHORT_ID),
    )


def _head(look: Look, rates: Rates | None) -> Text:
    clock = datetime.fromtimestamp(look.at_s, UTC).astimezone()
    parts = [f"{clock:%H:%M:%S}", f"{look.in_flight:,}/{look.slots:,} slots busy"]
    if rates:
        parts += [f"{rates.jobs_per_s:,.1f} jobs/s", f"{dollars(rates.usd_per_min)}/min"]
    else:
        parts.append("- jobs/s")
    if look.parked:
        parts.append(f"{amount(look.parked)} parked")
    return Text(" " + "   ".join(parts), "bold")


def _table(*columns: str, texts: int = 1) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=True)
    for number, column in enumerate(columns):
        is_text = number < texts
        table.add_column(
            column, justify="left" if is_text else "right", no_wrap=True, overflow="ellipsis"
        )
    return table


def _queues(look: Look) -> Table:
    table = _table("queue", "jobs waiting", "oldest", "workers", "slots")
    for queue in look.queues:
        table.add_row(*_queue(queue))
    return table


def _queue(queue: QueueLook) -> Iterator[Text]:
    yield Text(queue.name)
    yield Text(f"{queue.waiting:,}")
    yield Text("-" if queue.oldest_s is None else span(queue.oldest_s))
    yield Text(f"{queue.workers:,}", "" if queue.workers else "red")
    yield Text(f"{queue.slots:,}")


def _models(look: Look) -> Table:
    table = _table("model", "calls/min", "tokens/min", "calls today", "parked", "state")
    cards = look.catalog.models if look.catalog else {}
    for model in look.models:
        table.add_row(*_model(model, cards.get(model.name)))
    return table


def _model(model: ModelHealth, card: ModelCard | None) -> Iterator[Text]:
    use = model.quota
    yield Text(_cut(model.name, 24))
    yield _used(use.requests, card.rpm if card else None)
    yield _used(use.tokens, card.tpm if card else None)
    yield _used(use.day_requests, card.rpd if card else None)
    yield Text(f"{model.parked:,}")
    if model.well:
        yield Text("pass", "green")
    elif model.breaker:
        yield Text("breaker", "red")
    else:
        yield Text("held" if model.quota.blocked_until else "paused", "yellow")


def _used(used: int, quota: int | None) -> Text:
    if quota is None:
        return Text(amount(used))
    return Text(f"{amount(used)}/{amount(quota)}", "yellow" if used >= quota * _TIGHT else "")


def _batches(batches: tuple[BatchStatus, ...], id_length: int) -> Table:
    table = _table("batch", "source", "state", "finished", "", "failed", "cost", texts=3)
    for batch in batches:
        table.add_row(*_batch(batch, id_length))
    return table


def _batch(batch: BatchStatus, id_length: int) -> Iterator[Text]:
    failed = batch.counts.get(JobState.FAILED, 0)
    yield Text(_cut(batch.id, id_length))
    yield Text(_cut(batch.metadata.get("source", ""), _SOURCE))
    yield Text(batch.state, "yellow" if batch.paused else "")
    yield Text(f"{amount(batch.finished)}/{amount(batch.total)}")
    yield Text(f"{batch.finished / batch.total:.0%}" if batch.total else "")
    yield Text(f"{failed:,}", "red" if failed else "")
    yield Text(dollars(batch.cost_usd))


def _cut(text: str, length: int) -> str:
    """On one line that moves no cursor."""
    plain = "".join(one if one.isprintable() else " " for one in text)
    return plain if len(plain) <= length else f"{plain[: length - 1]}…"
