"""Draws charts as SVG with real text, in the page's own font and colours.

The page scales a drawing to its column, so that its text is about as large as the page's.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from promptyard.cli.words import amount, dollars
from promptyard_worker.report.palette import FAINT, INK, LIMIT, VARIABLES, colour_of
from promptyard_worker.report.parts import Bars, Paces, Ranges, Spec, Steps, Unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from promptyard_worker.report.parts import Pace

#: Inches; a phone's column is about as wide in CSS pixels as this is in points.
WIDTH_IN: Final = 5.0
_ROW_IN: Final = 0.30
_AXIS_IN: Final = 0.55
_LEGEND_IN: Final = 0.3
_PACE_IN: Final = 1.35
_STEPS_IN: Final = 2.6
_POINTS: Final = 10
_DAY_S: Final = 86_400
#: Above it, only powers of ten have a label.
_FEW_DECADES: Final = 300
#: Longer labels are cut.
_LABEL: Final = 30
#: A quota farther above the pace than this is named, but not drawn.
_DRAWN_QUOTA: Final = 3.0
_STYLE: Final[dict[Any, Any]] = {  # matplotlib's stubs want its own literals
    "svg.fonttype": "none",
    "svg.hashsalt": "promptyard",
    "text.parse_math": False,
    "font.size": _POINTS,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": _POINTS,
    "axes.titlelocation": "left",
    "axes.labelsize": _POINTS,
    "axes.unicode_minus": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "grid.color": FAINT,
    "legend.frameon": False,
    "legend.handlelength": 1.0,
    "legend.columnspacing": 1.2,
}
_HEAD: Final = re.compile(r"\A.*?<svg [^>]*?viewBox=(\"[^\"]*\")[^>]*>", re.DOTALL)
_META: Final = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)
_COLOUR: Final = re.compile(r"(fill|stroke): (#[0-9a-f]{6})")
_IDS: Final = re.compile(r"(id=\"|href=\"#|url\(#)")
_SPACE: Final = re.compile(r">\s+<")


def draw(spec: Spec, *, title: str, name: str) -> str:
    """An ``<svg>`` element.

    Args:
        spec: what to draw.
        title: what it shows, for those who do not see it.
        name: tells it from the others of the page.
    """
    with _styled():
        match spec:
            case Bars():
                figure = _bars(spec)
            case Steps():
                figure = _steps(spec)
            case Ranges():
                figure = _ranges(spec)
            case Paces():
                figure = _paces(spec)
        return _inline(figure, title=title, name=name)


@contextmanager
def _styled() -> Iterator[None]:
    """Our style; names in scripts that the measuring font does not have are no news."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield


def _inline(figure: Figure, *, title: str, name: str) -> str:
    """The drawing without what only a file of its own needs."""
    out = io.StringIO()
    metadata: dict[str, None] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(out, format="svg", transparent=True, metadata=metadata)
    svg = _META.sub("", out.getvalue())
    svg = _COLOUR.sub(_variable, _IDS.sub(rf"\g<1>{name}-", svg))
    label = title.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    svg = _HEAD.sub(rf'<svg role="img" aria-label="{label}" viewBox=\1>', svg, count=1)
    return _SPACE.sub("><", svg).strip()


def _variable(found: re.Match[str]) -> str:
    what, colour = found.groups()
    variable = VARIABLES.get(colour)
    return f"{what}: var({variable}, {colour})" if variable else f"{what}: {colour}"


def _figure(height_in: float) -> Figure:
    return Figure(figsize=(WIDTH_IN, height_in), layout="constrained")


def _bars(spec: Bars) -> Figure:
    has_legend = len(spec.series) > 1
    figure = _figure(len(spec.labels) * _ROW_IN + _AXIS_IN + has_legend * _LEGEND_IN)
    axes = figure.add_subplot()
    places = range(len(spec.labels))
    left = [0.0] * len(spec.labels)
    for number, (name, values) in enumerate(spec.series.items()):
        axes.barh(places, values, left=left, height=0.68, label=name, color=colour_of(name, number))
        left = [sum(pair) for pair in zip(left, values, strict=True)]
    for place, total in zip(places, left, strict=True):
        axes.annotate(
            _written(total, spec.unit),
            (total, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(places, [_cut(label) for label in spec.labels])
    axes.invert_yaxis()
    axes.set_xlim(0, (max(left) or 1.0) * 1.18)
    axes.spines[["bottom"]].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks([])
    if has_legend:
        _legend(figure)
    return figure


def _steps(spec: Steps) -> Figure:
    figure = _figure(_STEPS_IN)
    axes = figure.add_subplot()
    bins = len(next(iter(spec.series.values())))
    centres = [(number + 0.5) * spec.width for number in range(bins)]
    bottom = [0] * bins
    for number, (name, counts) in enumerate(spec.series.items()):
        axes.bar(
            centres,
            counts,
            bottom=bottom,
            width=spec.width * 0.92,
            label=name,
            color=colour_of(name, number),
        )
        bottom = [sum(pair) for pair in zip(bottom, counts, strict=True)]
    axes.set_xlabel(spec.axis)
    axes.set_xlim(0, bins * spec.width)
    _count_axis(axes)
    _legend(figure)
    return figure


def _ranges(spec: Ranges) -> Figure:
    figure = _figure(len(spec.labels) * _ROW_IN + _AXIS_IN + _LEGEND_IN)
    axes = figure.add_subplot()
    for place, (points, colour) in enumerate(zip(spec.points, spec.colours, strict=True)):
        shown = colour_of(colour, place)
        axes.plot((points[0], points[-1]), (place, place), color=shown, linewidth=5, alpha=0.35)
        for point, marker, size in zip(points, "o|D", (8, 10, 5), strict=True):
            axes.plot(point, place, marker, color=shown, markersize=size, markeredgewidth=2)
    for marker, what, size in (("o", "p50", 8), ("|", "p90", 10), ("D", "p99", 5)):
        axes.plot([], [], marker, color=INK, markersize=size, markeredgewidth=2, label=what)
    axes.set_xscale("log")
    low, high = min(map(min, spec.points)) / 1.5, max(map(max, spec.points)) * 1.5
    steps = (1.0, 2.0, 5.0) if high / low < _FEW_DECADES else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _duration(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(low, high)
    axes.set_yticks(range(len(spec.labels)), [_cut(label) for label in spec.labels])
    axes.set_ylim(len(spec.labels) - 0.5, -0.5)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.spines[["left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    _legend(figure)
    return figure


def _paces(spec: Paces) -> Figure:
    figure = _figure(len(spec.paces) * _PACE_IN + _AXIS_IN)
    rows = figure.subplots(len(spec.paces), 1, sharex=True, squeeze=False)
    for number, (axes, pace) in enumerate(zip(rows[:, 0], spec.paces, strict=True)):
        _pace(axes, pace, spec, colour_of(pace.colour, number))
    zone = datetime.now().astimezone().tzinfo
    locator = AutoDateLocator(tz=zone, minticks=3, maxticks=6)  # type: ignore[no-untyped-call]
    last = rows[-1, 0]
    last.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator, tz=zone)  # type: ignore[no-untyped-call]
    last.xaxis.set_major_formatter(formatter)
    return figure


def _pace(axes: Axes, pace: Pace, spec: Paces, colour: str) -> None:
    edges = [spec.ends_s[0] - spec.width_s, *spec.ends_s]
    moments = [edge / _DAY_S for edge in edges]  # as matplotlib counts them: days since 1970
    axes.stairs(pace.calls_a_minute, moments, fill=True, color=colour)
    most = max(pace.calls_a_minute)
    quota = ""
    if pace.rpm is not None:
        quota = f"  (quota {amount(pace.rpm)} a minute)"
        if pace.rpm <= most * _DRAWN_QUOTA:
            axes.axhline(pace.rpm, color=LIMIT, linestyle="--", linewidth=1.5)
            most = max(most, pace.rpm)
    axes.set_title(_cut(pace.model) + quota)
    axes.set_ylim(0, most * 1.1 or 1.0)
    _count_axis(axes)


def _count_axis(axes: Axes) -> None:
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: amount(round(value))))
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines[["left"]].set_visible(False)


def _legend(figure: Figure) -> None:
    figure.legend(loc="outside upper left", ncols=3)


def _written(value: float, unit: Unit) -> str:
    return dollars(value) if unit == "usd" else amount(round(value))


def _duration(value_s: float) -> str:
    return f"{value_s * 1000:g} ms" if value_s < 1 else f"{value_s:g} s"


def _cut(label: str) -> str:
    """On one line, and not longer than half of the drawing."""
    plain = " ".join(label.split())
    return plain if len(plain) <= _LABEL else f"{plain[: _LABEL - 1]}…"
