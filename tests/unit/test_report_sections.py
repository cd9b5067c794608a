"""What the tables of a report say, in the terminal as on the page."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console

from promptyard.batch import BatchState, BatchStatus, Pause
from promptyard.job import ErrorType, JobResult, JobState
from promptyard.names import Tier
from promptyard_worker.report.gathering import Gathering
from promptyard_worker.report.parts import Report, Table
from promptyard_worker.report.sections import compose
from promptyard_worker.report.source import Source
from promptyard_worker.report.text import print_text
from tests.report_results import CATALOG, FLASH, LITE, NOON, PRO, call, decision, result


def reported(
    results: Sequence[JobResult],
    *,
    status: BatchStatus | None = None,
    prompts: dict[str, str] | None = None,
    unreadable: int = 0,
) -> Report:
    """The report on some results."""
    gathered = Gathering(CATALOG)
    for one in results:
        gathered.add(one)
    source = Source("some results", iter(()), CATALOG, "router.yaml", status, unreadable, 3)
    return compose(gathered, source, prompts)


def table(report: Report, caption: str) -> Table:
    """A table of the report."""
    found = [one for section in report.sections for one in section.tables]
    return next(one for one in found if one.caption.startswith(caption))


def test_cost_is_compared_with_one_tier_for_all() -> None:
    """The same tokens: 100 in, 10 out; dearer on pro, by the catalog's prices."""
    rows = {row[0]: row[1:] for row in table(reported([result(1)]), "Cost compared").rows}
    assert rows["as routed"] == ("$0.0100", "")
    assert rows["all pro"] == ("$0.0002", "-98%")
    assert list(rows) == ["as routed", "all pro", "all flash", "all lite"]


def test_cost_by_tier_has_a_sum() -> None:
    """Of all tiers, and per 1,000 jobs."""
    pro = result(2, decided=decision(Tier.PRO), calls=[call(PRO)])
    rows = table(reported([result(1), pro]), "Cost by tier").rows
    assert [row[0] for row in rows] == ["pro", "lite", "all"]
    assert rows[-1] == ("all", "2", "100.0%", "200", "20", "0", "$0.0200", "$10.00")


def test_the_busiest_minute_stands_beside_the_quota() -> None:
    """Where the catalog names one; else a dash."""
    calls = [call(PRO, at_s=n) for n in range(8)] + [call(FLASH)]
    rows = table(reported([result(n, calls=[one]) for n, one in enumerate(calls)]), "The busiest")
    assert rows.rows == (
        (FLASH, "1", "1", "-", "-", "100", "-", "-"),
        (PRO, "8", "8", "10", "80.0%", "800", "1,000", "80.0%"),
    )


def test_the_timeline_is_a_table_of_few_rows() -> None:
    """However long it was; no call is missing in it."""
    results = [result(n, calls=[call(at_s=60 * n)]) for n in range(500)]
    rows = table(reported(results), "Calls that began").rows
    assert len(rows) <= 24
    assert sum(int(row[1]) for row in rows) == 500


def test_errors_name_the_first_job() -> None:
    """So that it can be found."""
    blocked = result(
        9, calls=[call(error=ErrorType.SAFETY)], error=ErrorType.SAFETY, status=JobState.BLOCKED
    )
    rows = table(reported([result(1), blocked]), "Jobs without an answer").rows
    assert rows == (("safety", "blocked", "1", "50.0%", "line 9, c9"),)


def test_a_batch_that_is_not_done_says_so() -> None:
    """With what waits, by state; and its budget."""
    status = BatchStatus(
        id="b1",
        state=BatchState.PAUSED,
        paused=Pause.BUDGET,
        total=3,
        counts={JobState.SUCCEEDED: 1, JobState.ROUTED: 2},
        tiers={},
        max_cost_usd=5.0,
        created=NOON,
        metadata={"source": "in.jsonl"},
    )
    report = reported([result(1)], status=status)
    assert "The batch is not done: 2 jobs to go, and it is paused (budget)." in report.warnings
    assert ("routed", "2", "66.7%") in table(report, "Jobs by state").rows
    assert ("budget", "$5.00") in table(report, "The batch").rows


def test_warnings_of_what_the_numbers_stand_on() -> None:
    """Simulated answers, unreadable lines, another router file."""
    simulated = result(1).model_copy(update={"model_version": "x-simulated"})
    old = decision().model_copy(update={"policy_version": "p0"})
    warnings = " ".join(reported([simulated, result(2, decided=old)], unreadable=2).warnings)
    assert "1 answer simulated" in warnings
    assert "2 lines of some results left out" in warnings
    assert "the first is line 3" in warnings
    assert "Other router files decided" in warnings


def test_text_has_every_table_and_moves_no_cursor() -> None:
    """At 80 columns; markup and control codes of names are shown, not obeyed."""
    hostile = "[bold]x[/bold]\x1b[2J"
    report = reported(
        [result(1, decided=decision(route=hostile), name=hostile)], prompts={"job-1": hostile}
    )
    out = io.StringIO()
    print_text(report, Console(file=out, width=80, force_terminal=False))
    text = out.getvalue()
    captions = [one.caption for section in report.sections for one in section.tables]
    assert all(caption[:40] in " ".join(text.split()) for caption in captions)
    assert "\x1b" not in text
    assert "[bold]x[/bold] [2J" in text
    assert LITE in text
    assert max(map(len, text.splitlines())) <= 80
