"""Where results come from: a result file, or the store; and what belongs to them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from promptyard.cli.options import connect, find_url, read_settings
from promptyard.errors import InputError
from promptyard.formats.jsonl import read_jobs
from promptyard.formats.source import STDIN, open_source
from promptyard.job import Job, JobResult
from promptyard.store import Store, codec, jobs

if TYPE_CHECKING:
    from promptyard.batch import BatchStatus
    from promptyard.catalog import Catalog
    from promptyard_worker.report.margins import Unsure

#: Of a prompt that is shown.
PROMPT_CHARACTERS: Final = 240
_SUFFIXES: Final = (".jsonl", ".json", ".part", ".ndjson")


@dataclass
class Source:
    """Results, and what is known beside them."""

    #: As people call it.
    name: str
    results: Iterator[JobResult]
    catalog: Catalog | None
    #: Whose catalog it is.
    prices_from: str
    #: Counters of the batch, where the store has them.
    status: BatchStatus | None = None
    #: Lines that are no results, and where the first one is; filled as results are read.
    unreadable: int = 0
    first_unreadable: int = 0


@dataclass(frozen=True)
class Wanted:
    """What a report is asked of."""

    #: A result file, or a batch id.
    what: str
    router: Path | None
    redis_url: str | None

    @property
    def is_file(self) -> bool:
        """Whether it is a file, or would be one."""
        return (
            self.what == STDIN
            or os.sep in self.what
            or self.what.endswith(_SUFFIXES)
            or Path(self.what).is_file()
        )


@contextmanager
def open_results(wanted: Wanted) -> Iterator[Source]:
    """The results, for as long as the block runs.

    Raises:
        InputError: there is no such file.
        BatchNotFound: there is no such batch.
        RouterFileError: the router file, which has the prices, cannot be used.
    """
    with _file(wanted) if wanted.is_file else _batch(wanted) as source:
        yield source


@contextmanager
def _file(wanted: Wanted) -> Iterator[Source]:
    from promptyard_worker.routing.file import find_router_file, load_router

    router = find_router_file(wanted.router or read_settings(None).router_file)
    with open_source(wanted.what) as path:
        source = Source(
            name="stdin" if wanted.what == STDIN else wanted.what,
            results=iter(()),
            catalog=load_router(router).catalog(),
            prices_from=str(router),
        )
        source.results = _read(path, source)
        yield source


def _read(path: Path, source: Source) -> Iterator[JobResult]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield JobResult.model_validate_json(line)
            except ValidationError:
                source.unreadable += 1
                source.first_unreadable = source.first_unreadable or number


@contextmanager
def _batch(wanted: Wanted) -> Iterator[Source]:
    with connect(wanted.redis_url) as producer:
        yield Source(
            name=f"batch {wanted.what}",
            status=producer.status(wanted.what),
            results=producer.results(wanted.what),
            catalog=producer.catalog(),
            prices_from="the workers' router file",
        )


def find_prompts(
    unsure: Sequence[Unsure], wanted: Wanted, *, input_file: str | None
) -> dict[str, str]:
    """The prompts of some jobs, by job id; results do not have them.

    Args:
        unsure: the jobs.
        wanted: where their results are.
        input_file: has the prompts; None: the store has them.

    Raises:
        InputError: nothing is known that has them.
    """
    if input_file is not None:
        return _from_input(unsure, input_file)
    url = wanted.redis_url or find_url(read_settings(None))
    if url is None:
        raise InputError(
            f"{wanted.what} does not have the prompts: name the input file by --input, "
            "or the Redis that still has the jobs by --redis-url."
        )
    with closing(Store(url)) as store:
        calls = [jobs.job_fields(one.job_id, "request") for one in unsure]
        found = store.do_many(calls)
    return {
        one.job_id: _shown(Job.model_validate_json(codec.decode(request)))
        for one, (request,) in zip(unsure, found, strict=True)
        if request is not None
    }


def _from_input(unsure: Sequence[Unsure], input_file: str) -> dict[str, str]:
    lines = {one.line: one.job_id for one in unsure if one.line}
    with open_source(input_file) as path:
        return {
            lines[job.line]: _shown(job)
            for job in read_jobs(path, batch_id="")
            if isinstance(job, Job) and job.line in lines
        }


def _shown(job: Job) -> str:
    text = " ".join(job.text.split()) or "(no text)"
    return text if len(text) <= PROMPT_CHARACTERS else f"{text[:PROMPT_CHARACTERS]} ..."
