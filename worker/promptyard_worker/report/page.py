"""A report as one HTML page that needs nothing else: no network, no other file, no script."""

from __future__ import annotations

import logging
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from promptyard_worker.report.parts import Chart, Report

_TEMPLATE: Final = "page.html.j2"


def has_charts() -> bool:
    """Whether matplotlib is installed; a page has the tables all the same."""
    return find_spec("matplotlib") is not None


def render(report: Report) -> str:
    """The page."""
    drawn = _drawn(report) if has_charts() else {}
    return _environment().get_template(_TEMPLATE).render(report=report, drawn=drawn)


def _drawn(report: Report) -> dict[str, Markup]:
    """The SVG of each section that has a chart, by the section's title."""
    # its fonts and caches are not the reader's business
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    charts = {section.title: section.chart for section in report.sections if section.chart}
    return {
        title: Markup(_draw(chart, f"c{number}"))  # noqa: S704 - matplotlib escapes its texts
        for number, (title, chart) in enumerate(charts.items())
    }


def _draw(chart: Chart, name: str) -> str:
    from promptyard_worker.report.charts import draw

    return draw(chart.spec, title=chart.title, name=name)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
