"""Labelled prompts: what a router is fitted on, and measured by.

A line is an input line of ``promptyard run`` with a label of one of two kinds:

- ``tier``: the cheapest tier that is good enough for the prompt.
- ``scores``: an object, model or tier -> how good its answer was, 0 to 1 (null: not tried).

What is neither the prompt nor the label (``category``, ``lang``, ``licence``, ...) is not
looked at. The label never becomes the job's own tier: that would decide instead of the router.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json, to_json

from promptyard.errors import InputError
from promptyard.formats.jsonl import BadLine, read_jobs
from promptyard.formats.source import STDIN, open_source
from promptyard.job import Job
from promptyard.names import Tier

#: Key of a line that tells where its prompt is from.
SOURCE_KEY: Final = "source"

#: Keys of an input line that routing reads, or that name it.
_JOB_KEYS: Final = frozenset(
    ("prompt", "contents", "system_instruction", "response_schema", "metadata", "custom_id", "id")
)
_GZIP_MAGIC: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"

Label = Tier | dict[str, float]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Prompts and their labels, row by row; of one kind of label."""

    jobs: tuple[Job, ...]
    #: The cheapest tier that is good enough; None: the labels are scores.
    tiers: tuple[Tier, ...] | None
    #: Rows are prompts, columns are arms; NaN where an arm was not tried. None: tiers.
    scores: NDArray[np.float64] | None
    #: Models or tiers of the scores, as they first come in the file; empty for tiers.
    arms: tuple[str, ...]
    #: Where each prompt is from; empty where its line does not say.
    sources: tuple[str, ...]
    #: The lines that could not be used: place, what, remedy.
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.jobs)

    def part(self, rows: Sequence[int]) -> Labelled:
        """Some of the prompts, in this order."""
        return replace(
            self,
            jobs=tuple(self.jobs[row] for row in rows),
            tiers=None if self.tiers is None else tuple(self.tiers[row] for row in rows),
            scores=None if self.scores is None else self.scores[list(rows)],
            sources=tuple(self.sources[row] for row in rows),
        )

    def of_arms(self, arms: Sequence[str]) -> Labelled:
        """With the scores of these arms alone, in this order."""
        if self.scores is None:
            return self
        columns = [self.arms.index(arm) for arm in arms]
        return replace(self, arms=tuple(arms), scores=self.scores[:, columns])

    def complete(self) -> Labelled:
        """The prompts that every arm was tried on; all, if the labels are tiers."""
        if self.scores is None:
            return self
        return self.part(np.flatnonzero(~np.isnan(self.scores).any(axis=1)).tolist())


class _BadLabel(Exception):
    """What is wrong with a label."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line, taken apart."""

    #: What is left as an input line; the line as it was, if it is no object.
    rest: bytes
    tier: object = None
    scores: object = None
    source: object = None

    @classmethod
    def of(cls, raw: bytes, source_key: str) -> _Line:
        try:
            fields = from_json(raw.removeprefix(_BOM), allow_inf_nan=False)
        except ValueError:
            return cls(raw)  # the reader of jobs says what is wrong
        if not isinstance(fields, dict):
            return cls(raw)
        job = {key: value for key, value in fields.items() if key in _JOB_KEYS}
        metadata = fields.get("metadata")
        own = metadata.get(source_key) if isinstance(metadata, dict) else None
        source = fields.get(source_key, own)
        return cls(to_json(job) + b"\n", fields.get("tier"), fields.get("scores"), source)

    @property
    def label(self) -> Label:
        """The label.

        Raises:
            _BadLabel: there is none, or it is wrong.
        """
        if self.scores is not None:
            return _scores(self.scores)
        if self.tier is None:
            raise _BadLabel('no label; add "tier": "pro" (flash, lite) or "scores": {"model": 0.8}')
        try:
            return Tier(self.tier)  # type: ignore[arg-type]  # whatever it is
        except ValueError:
            raise _BadLabel(f"the tier is none of {', '.join(Tier)}; name one of them") from None

    @property
    def source_name(self) -> str:
        """The source as a text."""
        if self.source is None:
            return ""
        return self.source if isinstance(self.source, str) else to_json(self.source).decode()


def read_labelled(path: str | Path, *, source_key: str = SOURCE_KEY) -> Labelled:
    """Read labelled prompts from JSONL, gzipped or not; ``-`` is standard input.

    A line that cannot be used is left out and told in ``problems``.

    Args:
        path: the file.
        source_key: key of a line (or of its ``metadata``) that says where its prompt is from.

    Raises:
        InputError: no line can be used, or the lines mix both kinds of label.
    """
    name = "stdin" if str(path) == STDIN else str(path)
    with open_source(str(path)) as file:
        lines = [_Line.of(raw, source_key) for raw in _unzipped(file, name)]
    _refuse_mixture(lines, name)
    rows: list[tuple[Job, Label, str]] = []
    problems: list[str] = []
    for item in read_jobs(io.BytesIO(b"".join(line.rest for line in lines)), batch_id=""):
        line = lines[(item.line or 0) - 1]
        try:
            if isinstance(item, BadLine):
                raise _BadLabel(item.message)
            rows.append((item, line.label, line.source_name))
        except _BadLabel as error:
            problems.append(f"{name}:{item.line}: {error}.")
    if not rows:
        first = f" The first problem is {problems[0]}" if problems else " It is empty."
        raise InputError(f"{name} has no labelled prompt that can be used.{first}")
    return _labelled(rows, problems)


def joined(parts: Sequence[Labelled]) -> Labelled:
    """Several sets as one.

    Raises:
        InputError: their labels are of two kinds.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    if len({part.tiers is None for part in parts}) == 2:
        raise InputError("Some files are labelled by tier and some by scores: fit them apart.")
    arms = tuple(dict.fromkeys(arm for part in parts for arm in part.arms))
    return Labelled(
        jobs=tuple(job for part in parts for job in part.jobs),
        tiers=None
        if first.tiers is None
        else tuple(tier for part in parts for tier in part.tiers or ()),
        scores=None if first.scores is None else np.vstack([_spread(part, arms) for part in parts]),
        arms=arms,
        sources=tuple(source for part in parts for source in part.sources),
        problems=tuple(problem for part in parts for problem in part.problems),
    )


def _spread(part: Labelled, arms: Sequence[str]) -> NDArray[np.float64]:
    """The scores of a set under the arms of all; NaN for those it has not."""
    table = np.full((len(part), len(arms)), np.nan)
    if part.scores is not None:
        table[:, [arms.index(arm) for arm in part.arms]] = part.scores
    return table


def split(
    labelled: Labelled, *, holdout: float, by_source: bool = False, seed: int = 0
) -> tuple[Labelled, Labelled]:
    """Hold a part out: what to fit on, what to measure by.

    The same prompts are divided alike, whatever their order: what a hash of the content
    (of the source's name) puts first is held out. Prompts that are equal stay together.

    Args:
        labelled: at least two different prompts (sources).
        holdout: about which part to hold out, above 0 and below 1.
        by_source: whether sources are held out whole; a prompt without one stands for itself.
        seed: another number, another division.

    Raises:
        InputError: there is nothing to divide.
        ValueError: ``holdout`` is no part.
    """
    if not 0 < holdout < 1:
        raise ValueError(f"holdout is {holdout:g}: give a part above 0 and below 1")
    groups: dict[str, list[int]] = {}
    for row, (job, source) in enumerate(zip(labelled.jobs, labelled.sources, strict=True)):
        key = f"source\0{source}" if by_source and source else f"prompt\0{content_key(job)}"
        groups.setdefault(hashlib.sha256(f"{seed}\0{key}".encode()).hexdigest(), []).append(row)
    if len(groups) < 2:
        what = "sources" if by_source else "prompts"
        raise InputError(f"Nothing can be held out: there are no two different {what}. Add some.")
    held = _held_out([groups[key] for key in sorted(groups)], holdout * len(labelled))
    kept = sorted(set(range(len(labelled))).difference(held))
    return labelled.part(kept), labelled.part(sorted(held))


def _held_out(groups: Sequence[list[int]], wanted: float) -> list[int]:
    """Rows of the groups that come first, those left out that would miss the number more."""
    total = sum(map(len, groups))
    held: list[int] = []
    for group in groups:
        size = len(held) + len(group)
        if size < total and abs(size - wanted) < abs(len(held) - wanted):
            held += group
    return held or min(groups, key=len)


def content_key(job: Job) -> str:
    """Alike for jobs that ask the same."""
    return job.model_dump_json(include={"contents", "system_instruction"})


def _unzipped(path: Path, name: str) -> list[bytes]:
    try:
        with path.open("rb") as file:
            zipped = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            file.seek(0)
            with closing(gzip.GzipFile(fileobj=file) if zipped else file) as lines:
                return list(lines)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise InputError(f"{name} is not a whole gzip file: copy or compress it again.") from None


def _refuse_mixture(lines: Iterable[_Line], name: str) -> None:
    first: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        for kind, given in (("tier", line.tier), ("scores", line.scores)):
            if given is not None:
                first.setdefault(kind, number)
    if len(first) > 1:
        raise InputError(
            f"{name} mixes two kinds of label: line {first['tier']} has a tier, line "
            f"{first['scores']} has scores. Keep one kind, or make two files of it."
        )


def _scores(given: object) -> dict[str, float]:
    if not isinstance(given, dict):
        raise _BadLabel('scores is not an object; write {"model": 0.8}')
    scores = {arm: _score(arm, value) for arm, value in given.items() if value is not None}
    if not scores:
        raise _BadLabel("scores has no score; give one of at least one model")
    return scores


def _score(arm: str, value: Any) -> float:
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _BadLabel(f"the score of {arm!r} is no number from 0 to 1; scale it so")
    return float(value)


def _labelled(rows: Sequence[tuple[Job, Label, str]], problems: Sequence[str]) -> Labelled:
    jobs, labels, sources = zip(*rows, strict=True)
    tiers = tuple(label for label in labels if isinstance(label, Tier))
    outcomes = [label for label in labels if isinstance(label, dict)]
    arms = tuple(dict.fromkeys(arm for outcome in outcomes for arm in outcome))
    scores = np.array([[outcome.get(arm, np.nan) for arm in arms] for outcome in outcomes])
    return Labelled(
        jobs=jobs,
        tiers=tiers or None,
        scores=scores if outcomes else None,
        arms=arms,
        sources=sources,
        problems=tuple(problems),
    )
