"""``promptyard failed`` and ``promptyard retry``: the dead letters, seen and put back."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Final

import typer

from promptyard.cli.options import (
    AsJson,
    BatchId,
    RedisUrl,
    connect,
    print_json,
)

if TYPE_CHECKING:
    from promptyard.job import JobResult

#: Jobs shown of each batch; the rest is only counted.
ROWS: Final = 100
_COLUMNS: Final = ("line", "job", "type", "tier", "model", "attempts", "when")
_NUMBERS: Final = {"line", "attempts"}


def failed(
    batch: Annotated[
        str | None,
        typer.Argument(
            metavar="[BATCH]", help="Batch id; recent batches and single jobs if not given."
        ),
    ] = None,
    as_json: AsJson = False,
    redis_url: RedisUrl = None,
) -> None:
    """Show failed jobs, with what went wrong; --json prints each as a result, one a line."""
    from promptyard.formats.results import encode_result

    with connect(redis_url) as producer:
        found = producer.failed(batch)
        if as_json:
            for result in found:
                sys.stdout.buffer.write(encode_result(result))
            return
        some = False
        for batch_id, results in groupby(found, key=lambda result: result.batch_id):
            _show(batch_id, results)
            some = True
    if not some:
        typer.echo("no failed jobs")


def retry(
    batch: BatchId,
    kind: Annotated[
        list[str] | None,
        typer.Option("--type", metavar="TYPE", help="Only jobs with this type of error; repeat."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="MODEL", help="Only jobs that failed on it; repeat."),
    ] = None,
    as_json: AsJson = False,
    redis_url: RedisUrl = None,
) -> None:
    """Put failed jobs of a batch back to where they were routed first."""
    from promptyard.cli.words import count

    with connect(redis_url) as producer:
        number = producer.retry(batch, error_type=kind, model=model)
    if as_json:
        print_json({"batch_id": batch, "retried": number})
    else:
        typer.echo(f"{count(number, 'job')} put back")


def _show(batch_id: str | None, results: Iterable[JobResult]) -> None:
    """Print one batch's failed jobs: the first ones in full, all counted."""
    from promptyard.cli.words import count

    kinds: Counter[str] = Counter()
    typer.echo(f"batch {batch_id}" if batch_id else "without a batch")
    for line in _table(list(_counted(results, kinds))):
        typer.echo(line)
    parts = ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common())
    shown = f"; the first {ROWS} are shown, --json prints all" if kinds.total() > ROWS else ""
    typer.echo(f"{count(kinds.total(), 'job')} failed: {parts}{shown}\n")


def _counted(results: Iterable[JobResult], kinds: Counter[str]) -> Iterator[JobResult]:
    """Give the results to show, and count all."""
    for number, result in enumerate(results):
        kinds[_kind(result)] += 1
        if number < ROWS:
            yield result


def _table(results: Sequence[JobResult]) -> Iterator[str]:
    """Two lines a job: its columns, and under them the message, which no column could hold."""
    rows = [_COLUMNS, *map(_row, results)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    messages = ["", *(result.error.message if result.error else "" for result in results)]
    for row, message in zip(rows, messages, strict=True):
        cells = [
            cell.rjust(width) if name in _NUMBERS else cell.ljust(width)
            for name, cell, width in zip(_COLUMNS, row, widths, strict=True)
        ]
        yield "  ".join(cells).rstrip()
        if message:
            yield " " * (widths[0] + 2) + _plain(message)


def _row(result: JobResult) -> tuple[str, ...]:
    timings = result.timings
    return (
        str(result.line or ""),
        _plain(result.custom_id or result.id),
        _kind(result),
        result.tier or "",
        _plain(result.model or ""),
        str(len(result.attempts)),
        f"{timings.finished.astimezone():%m-%d %H:%M:%S}" if timings else "",
    )


def _kind(result: JobResult) -> str:
    return result.error.type if result.error else "unknown"


def _plain(text: str) -> str:
    """What a server or a caller wrote, as one line that moves no cursor."""
    return "".join(one if one.isprintable() else " " for one in text)
