"""The page: whole in itself, safe whatever names say, light, and readable without its charts."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from promptyard.catalog import Catalog
from promptyard.job import ErrorType, JobResult
from promptyard.names import Tier
from promptyard_worker.report import page
from promptyard_worker.report.gathering import Gathering
from promptyard_worker.report.parts import Report
from promptyard_worker.report.sections import compose
from promptyard_worker.report.source import Source
from tests.report_results import CATALOG, FLASH, LITE, PRO, call, decision, result

pytest.importorskip("matplotlib")

HOSTILE = "<script>alert(1)</script>\"'&$x_y$ ${{ 7*7 }} 路由 \x1b[2J"
#: Elements that have no end tag.
VOID = {"meta", "link", "br"}
MOST_BYTES = 500_000


def reported(
    *results: JobResult,
    catalog: Catalog | None = CATALOG,
    prompts: dict[str, str] | None = None,
) -> Report:
    """The report on some results."""
    gathered = Gathering(catalog)
    for one in results:
        gathered.add(one)
    source = Source("results.jsonl", iter(()), catalog, "router.yaml")
    return compose(gathered, source, prompts)


def everything(count: int = 200) -> list[JobResult]:
    """Results that fill every section."""
    tiers = (Tier.PRO, Tier.FLASH, Tier.LITE)
    made = []
    for number in range(count):
        tier = tiers[number % 3]
        model = (PRO, FLASH, LITE)[number % 3]
        calls = [call(model, at_s=number, duration_s=0.1 + number % 7)]
        error = None
        if number % 5 == 0:
            calls = [call(model, ErrorType.SERVER_ERROR, at_s=number), call(FLASH, at_s=number + 2)]
        if number % 40 == 0:
            calls, error = [call(model, ErrorType.SAFETY, at_s=number)], ErrorType.SAFETY
        stage = ("semantic", "learned")[number % 2]
        decided = decision(tier, route=f"r{number % 4}", stage=stage, margin=number / count)
        made.append(result(number, calls=calls, decided=decided, error=error))
    return made


class Page(HTMLParser):
    """A page as a browser reads it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element without content."""
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        """An element ends: the one that began last."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text."""
        self.words.append(data)

    @property
    def ids(self) -> list[str | None]:
        """Every id."""
        return [value for name, value in self.attributes if name == "id"]


def test_a_page_needs_nothing_else() -> None:
    """No script, no address to load from: only its own anchors and the names of SVG."""
    made = Page(page.render(reported(*everything())))
    assert not {"script", "img", "iframe", "object"} & set(made.tags)
    links = [value for name, value in made.attributes if name in ("href", "src", "xlink:href")]
    assert all(link is not None and link.startswith(("#", "data:,")) for link in links)
    assert not re.search(r"https?://(?!www\.w3\.org/)", made.text)
    assert "@import" not in made.text
    assert "default-src 'none'" in made.text
    assert len(made.text.encode()) < MOST_BYTES


def test_every_chart_has_its_numbers_as_a_table_and_a_name() -> None:
    """Who does not see it can read it."""
    report = reported(*everything())
    charted = [section for section in report.sections if section.chart]
    assert [section.title for section in charted] == [
        *("Routes", "Cost", "Latency", "Throughput and quota"),
        *("Retries and fallbacks", "Errors", "Margins"),
    ]
    assert all(section.tables for section in charted)
    text = page.render(report)
    assert text.count("<svg role=") == len(charted)
    for section in charted:
        assert section.chart is not None
        assert f'aria-label="{section.chart.title}"' in text
    ids = Page(text).ids
    assert len(ids) == len(set(ids)), "the charts do not share names"


def test_the_texts_of_charts_are_text() -> None:
    """Not outlines: they are read, searched and sized as the page's."""
    made = Page(page.render(reported(*everything())))
    assert made.tags.count("text") > 30
    assert f"{PRO}  (quota 10 a minute)" in made.words


@pytest.mark.filterwarnings("error")
def test_names_from_outside_are_shown_as_they_are() -> None:
    """Routes, models, ids and prompts are data in tables and charts, whatever they look like."""
    decided = decision(route=HOSTILE, stage=HOSTILE)
    results = [
        result(1, calls=[call(HOSTILE)], decided=decided, name=HOSTILE),
        result(2, calls=[call(HOSTILE, ErrorType.TIMEOUT)], error=ErrorType.TIMEOUT, name=HOSTILE),
    ]
    text = page.render(reported(*results, prompts={"job-1": HOSTILE}))
    made = Page(text)
    assert "script" not in made.tags
    assert made.words.count(HOSTILE) >= 4, "route, stage, model, prompt"
    assert "49" not in [word.strip() for word in made.words]


def test_an_empty_corner_does_not_break_it() -> None:
    """One job, no call, no decision, no times, no prices."""
    bare = JobResult.model_validate({"id": "x", "status": "cancelled"})
    text = page.render(reported(bare, catalog=None))
    assert "No worker has published its prices yet" in text
    assert "<h2>Throughput" not in text
    assert "<h2>Margins" not in text


def test_a_single_call_has_charts() -> None:
    """One point in time, one percentile, nothing spent."""
    free = call().model_copy(update={"cost_usd": 0.0, "duration_s": 0.0})
    assert "<svg" in page.render(reported(result(1, calls=[free])))


def test_without_matplotlib_the_tables_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the extra `report` has a page too."""
    monkeypatch.setattr(page, "find_spec", lambda _name: None)
    made = Page(page.render(reported(*everything())))
    assert not page.has_charts()
    assert "svg" not in made.tags
    assert made.tags.count("table") > 10


def test_the_same_results_make_the_same_charts() -> None:
    """Two pages can be compared."""
    report = reported(*everything())
    assert page.render(report) == page.render(report)


def test_prompts_only_on_request() -> None:
    """Answers never."""
    hidden = page.render(reported(result(1)))
    assert "--prompts shows their prompts" in hidden
    assert "a marked answer" not in hidden
    shown = page.render(reported(result(1), prompts={"job-1": "a marked prompt"}))
    assert "a marked prompt" in shown
