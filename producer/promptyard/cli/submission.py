"""``promptyard submit``: a file's jobs into a batch, streaming."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from promptyard.cli.tally import Tally
from promptyard.core import Duplicate
from promptyard.formats.jsonl import BadLine, read_jobs
from promptyard.formats.source import content_identity, open_source
from promptyard.job import Job
from promptyard.producer import Producer
from promptyard.room import WhenFull


class Submission(BaseModel):
    """What a submit did."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_id: str
    #: Jobs written now.
    submitted: int
    #: Jobs that were in already.
    existing: int
    #: Lines that are no jobs.
    bad: int
    #: The first of them.
    bad_lines: tuple[BadLine, ...]


def file_batch(
    producer: Producer,
    source: Path,
    *,
    name: str,
    fresh: bool,
    max_cost_usd: float | None = None,
    when_full: WhenFull = "raise",
) -> str:
    """The batch of a file: the same content is the same batch, unless ``fresh``."""
    return producer.open_batch(
        identity=f"file:{content_identity(source)}",
        fresh=fresh,
        metadata={"source": Path(name).name},
        max_cost_usd=max_cost_usd,
        when_full=when_full,
    )


def submit_file(
    producer: Producer,
    name: str,
    *,
    fresh: bool,
    max_cost_usd: float | None = None,
    when_full: WhenFull = "raise",
) -> Submission:
    """Submit a file (``-``: stdin); a bad line is reported and stops nothing."""
    tally = Tally()
    duplicates = 0

    def report_duplicate(duplicate: Duplicate) -> None:
        nonlocal duplicates
        if not duplicate.by_key:
            duplicates += 1
            tally.add_bad_line(BadLine.of_duplicate(duplicate.job, duplicate.line))

    def jobs(source: Path) -> Iterator[Job]:
        for item in read_jobs(source, batch_id=batch_id):
            if isinstance(item, Job):
                yield item
            else:
                tally.add_bad_line(item)

    with open_source(name) as source:
        batch_id = file_batch(
            producer,
            source,
            name=name,
            fresh=fresh,
            max_cost_usd=max_cost_usd,
            when_full=when_full,
        )
        batch = producer.submit_batch(
            jobs(source),
            batch_id=batch_id,
            on_duplicate=report_duplicate,
            when_full=when_full,
        )
    return Submission(
        batch_id=batch_id,
        submitted=batch.submitted,
        existing=batch.existing - duplicates,
        bad=tally.bad_count,
        bad_lines=tuple(tally.bad_lines),
    )
