"""What a report is made of: sections with tables, and charts of the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

#: How the numbers of a chart are written.
Unit = Literal["count", "usd", "seconds"]


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of text, as they are read."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    #: A text under each row; empty: there are none.
    notes: tuple[str, ...] = ()
    #: Whether the page shows it only when it is asked: its chart says it at a glance.
    is_detail: bool = False

    @property
    def has_head(self) -> bool:
        """Whether its columns have names."""
        return any(column.name for column in self.columns)


@dataclass(frozen=True)
class Bars:
    """A bar a label, lying, made of the parts that the series have in it."""

    labels: tuple[str, ...]
    #: Name of a series -> its part of each bar.
    series: Mapping[str, Sequence[float]]
    unit: Unit = "count"


@dataclass(frozen=True)
class Steps:
    """Counts in neighbouring bins of one width, stacked."""

    width: float
    series: Mapping[str, Sequence[int]]
    axis: str


@dataclass(frozen=True)
class Ranges:
    """Percentiles of durations, a line a label."""

    labels: tuple[str, ...]
    #: Seconds: p50, p90, p99.
    points: tuple[tuple[float, float, float], ...]
    #: Name of the colour of each label.
    colours: tuple[str, ...]


@dataclass(frozen=True)
class Pace:
    """One model's calls a minute, and what its quota allows."""

    model: str
    calls_a_minute: Sequence[float]
    #: None: no quota is known.
    rpm: int | None
    colour: str


@dataclass(frozen=True)
class Paces:
    """The pace of several models, on one scale of time."""

    #: Of each step, in seconds since the epoch.
    ends_s: Sequence[float]
    width_s: float
    paces: tuple[Pace, ...]


Spec = Bars | Steps | Ranges | Paces


@dataclass(frozen=True)
class Chart:
    """A chart, and what it shows in words."""

    spec: Spec
    title: str


@dataclass(frozen=True)
class Section:
    """One question, and what answers it."""

    title: str
    tables: tuple[Table, ...] = ()
    chart: Chart | None = None
    #: A remark above it.
    lead: str = ""


@dataclass(frozen=True)
class Report:
    """A report, before it is a page or text."""

    title: str
    #: What it is of.
    subject: str
    #: What the reader must know first.
    warnings: tuple[str, ...]
    #: The figures that matter most: what, how much, and a remark.
    figures: tuple[tuple[str, str, str], ...]
    sections: tuple[Section, ...]
    #: Where it comes from.
    footer: tuple[str, ...] = field(default=())


def text(*names: str) -> tuple[Column, ...]:
    """Columns of text."""
    return tuple(Column(name) for name in names)


def numbers(*names: str) -> tuple[Column, ...]:
    """Columns of numbers."""
    return tuple(Column(name, is_number=True) for name in names)


def share(part: float, whole: float) -> str:
    """A part, in per cent."""
    return f"{part / whole:.1%}" if whole else "-"
