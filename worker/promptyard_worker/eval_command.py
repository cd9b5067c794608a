"""``promptyard eval``: how well a router file routes labelled prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from promptyard.cli.options import (
    AsJson,
    print_json,
    read_settings,
    stderr_console,
    stdout_console,
)
from promptyard.cli.words import count
from promptyard.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from promptyard_worker.evaluation import Evaluation
    from promptyard_worker.routing.labelled import Labelled
    from promptyard_worker.yardstick import Measures

#: More bad lines than this are only counted.
_MOST_PROBLEMS: Final = 10
#: More sources than this have no line of their own.
_MOST_SOURCES: Final = 100

LabelledFile = Annotated[
    str,
    typer.Argument(metavar="LABELLED", help="JSONL with tier or scores, or - for stdin."),
]
RouterFile = Annotated[
    Path | None, typer.Option("--router", metavar="FILE", help="Router file; else the one in use.")
]
By = Annotated[
    str | None,
    typer.Option("--by", metavar="KEY", help="Report by this key of the lines; else by source."),
]
NoBaselines = Annotated[
    bool, typer.Option("--no-baselines", help="Measure the policy alone, which is quicker.")
]


def evaluate(
    file: LabelledFile,
    router: RouterFile = None,
    by: By = None,
    as_json: AsJson = False,
    no_baselines: NoBaselines = False,
) -> None:
    """Route labelled prompts and compare: accuracy, cost, under- and over-routing.

    Calls no model, unless the router file names a judge or a Gemini encoder.
    """
    from promptyard_worker.evaluation import evaluate as measured
    from promptyard_worker.routing.file import find_router_file, load_router
    from promptyard_worker.routing_services import routing_services

    settings = read_settings(None)
    path = find_router_file(router or settings.router_file)
    config = load_router(path)
    labelled = read(file, by)
    with routing_services(settings) as services:
        found = measured(config, labelled, services, baselines=not no_baselines)
    if as_json:
        print_json(found)
        return
    say_problems(found.problems)
    print_evaluation(stdout_console(), found, head=_head(found, path), by=by or "source")


def read(file: str, by: str | None) -> Labelled:
    """Read a labelled file; ``by`` is the key that tells the source of a line."""
    from promptyard_worker.routing.labelled import SOURCE_KEY, read_labelled

    labelled = read_labelled(file, source_key=by or SOURCE_KEY)
    if by is not None and not any(labelled.sources):
        raise InputError(f"No line of {file} has the key {by!r}: correct --by, or leave it out.")
    return labelled


def say_problems(problems: Sequence[str]) -> None:
    """Lines that could not be used, to stderr."""
    console = stderr_console()
    for problem in problems[:_MOST_PROBLEMS]:
        console.print(problem, markup=False, soft_wrap=True)
    if problems:
        console.print(f"{count(len(problems), 'line')} left out", soft_wrap=True)


def print_evaluation(console: Console, found: Evaluation, *, head: str, by: str) -> None:
    """The tables of an evaluation, under a line that says what was done."""
    console.print(head, markup=False, soft_wrap=True)
    if found.knob:
        console.print(f"knob: {found.knob}", markup=False, soft_wrap=True)
    console.print(_ways_table(found))
    console.print(_confusion_table(found) if found.confusion else _shares_table(found))
    for line in _remarks(found):
        console.print(line, markup=False, soft_wrap=True)
    console.print(_parts_table("decided by", found.stages))
    if found.sources:
        shown = found.sources[:_MOST_SOURCES]
        console.print(_parts_table(by, shown))
        if more := len(found.sources) - len(shown):
            console.print(f"and {more:,} more: see them by --json")


def _head(found: Evaluation, router_file: Path) -> str:
    return (
        f"{count(found.prompts, 'prompt')} labelled by {found.labels}, routed by {router_file} "
        f"(policy {found.policy_version}) at {found.prompts_per_s:,.0f} prompts/s"
    )


def _remarks(found: Evaluation) -> Iterator[str]:
    tiers = found.policy.tiers
    if tiers is not None and found.confusion is not None:
        worst = found.confusion["pro"]["lite"] / found.prompts
        yield (
            f"under-routed {_percent(tiers.under_routing)}: pro to lite {_percent(worst)}, by one "
            f"tier {_percent(tiers.under_routing - worst)}; over-routed "
            f"{_percent(tiers.over_routing)}"
        )
    if found.baselines:
        dearest = max(found.baselines, key=lambda one: one.cost_usd_per_1k)
        if dearest.cost_usd_per_1k > 0:
            part = found.policy.cost_usd_per_1k / dearest.cost_usd_per_1k
            yield f"cost: {_percent(part)} of {dearest.name}"
    if found.calibration_error is not None:
        yield f"calibration error: {found.calibration_error:.3f}"
    if gap := found.gap:
        yield (
            f"{gap.strong} against {gap.weak} ({count(gap.prompts, 'prompt')}): APGR "
            f"{gap.apgr:.3f}, CPT(50 %) {_percent(gap.cpt_50)}, CPT(80 %) {_percent(gap.cpt_80)}"
        )
    yield from found.remarks


def _ways_table(found: Evaluation) -> Table:
    """The policy and the baselines, with what they cost."""
    ways = (found.policy, *found.baselines)
    cells = [_cells(one, f1=True) | {"$/1,000": f"{one.cost_usd_per_1k:.4g}"} for one in ways]
    return _filled("routing", ways, cells)


def _parts_table(title: str, parts: Sequence[Measures]) -> Table:
    """Parts of the prompts, with their sizes."""
    cells = [{"prompts": f"{one.prompts:,}"} | _cells(one, f1=False) for one in parts]
    return _filled(title, parts, cells)


def _cells(one: Measures, *, f1: bool) -> dict[str, str]:
    """Header -> figure. F1 means little where a part has prompts of one label only."""
    tiers = one.tiers
    if tiers is None:
        of_best = "-" if one.of_best is None else _percent(one.of_best)
        return {"quality": f"{one.quality:.3f}", "of best arm": of_best}
    return {
        "accuracy": f"{tiers.accuracy:.3f}",
        **({"macro F1": f"{tiers.macro_f1:.3f}"} if f1 else {}),
        "under": _percent(tiers.under_routing),
        "pro to lite": "-" if tiers.pro_to_lite is None else _percent(tiers.pro_to_lite),
        "over": _percent(tiers.over_routing),
    }


def _filled(title: str, lines: Sequence[Measures], cells: Sequence[dict[str, str]]) -> Table:
    table = _table(title, [*cells[0]])
    for one, own in zip(lines, cells, strict=True):
        table.add_row(_plain(one.name), *own.values())
    return table


def _confusion_table(found: Evaluation) -> Table:
    """Labels down, decisions across, and the shares of both."""
    confusion = found.confusion or {}
    table = _table("label", [*(f"to {tier}" for tier in confusion), "label share"])
    for label, row in confusion.items():
        share = sum(row.values()) / found.prompts
        table.add_row(label, *(f"{number:,}" for number in row.values()), _percent(share))
    table.add_section()
    decided = [sum(row[tier] for row in confusion.values()) for tier in confusion]
    table.add_row("decided share", *(_percent(number / found.prompts) for number in decided), "")
    return table


def _shares_table(found: Evaluation) -> Table:
    table = _table("arm", ["share"])
    for arm in found.arms:
        table.add_row(_plain(arm.name), _percent(arm.decided))
    return table


def _table(first: str, others: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(_plain(first), overflow="fold")
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _plain(text: str) -> str:
    """Names come from files: no markup in them."""
    from rich.markup import escape

    return escape(text)


def _percent(part: float) -> str:
    return f"{100 * part:.1f} %"
