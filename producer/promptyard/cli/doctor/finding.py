"""One thing that was looked at: how it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict
from rich.table import Table

_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "red"}

Verdict = Literal["ok", "warn", "fail"]


class Finding(BaseModel):
    """One thing looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    verdict: Verdict
    detail: str
    #: What to do; empty if nothing.
    remedy: str = ""


def judged(subject: str, *, well: bool, otherwise: Verdict, detail: str, remedy: str) -> Finding:
    """A finding that is ``otherwise``, and wants its remedy, unless all is well."""
    return Finding(
        subject=subject,
        verdict="ok" if well else otherwise,
        detail=detail,
        remedy="" if well else remedy,
    )


def findings_table(findings: Sequence[Finding]) -> Table:
    """The findings for people."""
    table = Table("what", "", "found", "remedy")
    for finding in findings:
        style = _STYLES[finding.verdict]
        table.add_row(
            finding.subject,
            f"[{style}]{finding.verdict}[/]",
            finding.detail,
            finding.remedy,
        )
    return table
