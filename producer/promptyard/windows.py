"""Cuts a stream of jobs into windows of bounded count and size, and those into chunks."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Final, Protocol, TypeVar

from promptyard.job import Job
from promptyard.names import CLASSIFY_CHUNK


class Prioritised(Protocol):
    """What goes by a priority."""

    @property
    def priority(self) -> int:
        """0 to 9; 0 runs first."""


T = TypeVar("T")
P = TypeVar("P", bound=Prioritised)

#: A submit holds at most so many jobs, and about so many characters of prompts, at once.
WINDOW_JOBS: Final = 8 * CLASSIFY_CHUNK
WINDOW_CHARS: Final = 4_000_000


def chunked(window: Sequence[P]) -> list[list[P]]:
    """Chunks of jobs sorted by priority: at most CLASSIFY_CHUNK of one, for one message each."""
    return [
        list(chunk)
        for _, level in groupby(window, key=lambda job: job.priority)
        for chunk in _batched(level, CLASSIFY_CHUNK)
    ]


def _batched(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """Tuples of at most ``size`` items (itertools.batched is Python 3.12)."""
    source = iter(items)
    while batch := tuple(islice(source, size)):
        yield batch


def as_job(job: Job | str) -> Job:
    """A prompt stands for a job with nothing but that prompt."""
    return Job(contents=job) if isinstance(job, str) else job


async def _each(source: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield item
    else:
        for item in source:
            yield item


async def windows(
    source: Iterable[Job | str] | AsyncIterable[Job | str],
) -> AsyncIterator[list[Job]]:
    """Cut a stream of jobs into windows of bounded count and size."""
    window: list[Job] = []
    chars = 0
    async for item in _each(source):
        job = as_job(item)
        window.append(job)
        chars += _size(job)
        if len(window) >= WINDOW_JOBS or chars >= WINDOW_CHARS:
            yield window
            window, chars = [], 0
    if window:
        yield window


def _size(job: Job) -> int:
    if isinstance(job.contents, str):
        return len(job.contents)
    parts = [part for turn in job.contents for part in turn.parts]
    return sum(
        len(part.text or "") + (len(part.inline_data.data) if part.inline_data else 0)
        for part in parts
    )
