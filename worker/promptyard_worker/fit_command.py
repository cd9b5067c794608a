"""``promptyard fit``: trains the learned router on labelled prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from promptyard.cli.options import AsJson, print_json, read_settings, stdout_console
from promptyard.cli.words import count
from promptyard.errors import InputError
from promptyard_worker.eval_command import (
    By,
    RouterFile,
    print_evaluation,
    read,
    say_problems,
)

if TYPE_CHECKING:
    from promptyard_worker.fitting import Fit
    from promptyard_worker.routing.curve import OperatingPoint

#: Rows of the table of operating points.
_SHOWN_POINTS: Final = 12

LabelledFiles = Annotated[
    list[str], typer.Argument(metavar="LABELLED...", help="JSONL with tier or scores a line.")
]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="File to write; name it in router.yaml.")
]
Force = Annotated[bool, typer.Option("--force", help="Write over a file that is there.")]


def fit(
    files: LabelledFiles,
    output: Output = Path("router.fit.npz"),
    router: RouterFile = None,
    by: By = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Learn from labelled prompts which tier or model is good enough; calls no model.

    What it prints is measured on prompts that the measured router had not seen, whole sources
    apart where the lines name theirs.
    """
    if output.exists() and not force:
        raise InputError(f"{output} is there already: name another --output, or give --force.")
    if not output.parent.is_dir():
        raise InputError(f"{output.parent} is no folder: create it, or name another --output.")
    try:
        from promptyard_worker.fitting import fit as fitted_to
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        raise InputError(
            f"Fitting needs {missing}, which is not installed: pip install 'promptyard[fit]'."
        ) from error
    from promptyard_worker.routing.file import find_router_file, load_router
    from promptyard_worker.routing.labelled import joined
    from promptyard_worker.routing_services import routing_services

    settings = read_settings(None)
    path = find_router_file(router or settings.router_file)
    config = load_router(path)
    labelled = joined([read(file, by) for file in files])
    with routing_services(settings) as services:
        found = fitted_to(config, labelled, services)
    _save(found, output)
    if as_json:
        print_json(found.evaluation)
        return
    say_problems(found.evaluation.problems)
    _print(found, output, router_file=path, by=by or "source")


def _save(found: Fit, output: Path) -> None:
    try:
        found.fitted.save(output)
    except OSError as error:
        raise InputError(f"{output} cannot be written: {error.strerror}.") from None


def _print(found: Fit, output: Path, *, router_file: Path, by: str) -> None:
    console = stdout_console()
    report = found.fitted.report
    kept = "whole sources" if report.held_out_by == "source" else "prompts"
    head = (
        f"{count(report.prompts, 'prompt')} labelled by {report.labels}; each decided by a router "
        f"that had not seen it ({kept} held out)"
    )
    print_evaluation(console, found.evaluation, head=head, by=by)
    console.print(_points_table(found))
    size_kb = output.stat().st_size / 1000
    console.print(
        f"Wrote {output} ({size_kb:,.0f} kB). Use it in router.yaml:\n"
        f"learned:\n  file: {_named(output, router_file)}\n  # quality: 0.95",
        markup=False,
        soft_wrap=True,
    )


def _named(output: Path, router_file: Path) -> Path:
    """As the router file names it: relative to itself, where it lies beside or below it."""
    path, folder = output.absolute(), router_file.absolute().parent
    return path.relative_to(folder) if path.is_relative_to(folder) else path


def _points_table(found: Fit) -> object:
    """What ``quality`` and ``max_cost_per_1k`` can choose."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    arms = map(escape, found.fitted.arms)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("quality", "$/1,000", *(f"to {arm}" for arm in arms)):
        table.add_column(name, justify="right", no_wrap=True)
    for point in _some(found.fitted.points):
        shares = (f"{100 * share:.1f} %" for share in point.shares)
        table.add_row(f"{point.quality:.3f}", f"{point.cost_usd_per_1k:.4g}", *shares)
    return table


def _some(points: tuple[OperatingPoint, ...]) -> list[OperatingPoint]:
    """Evenly chosen, the ends among them."""
    if len(points) <= _SHOWN_POINTS:
        return list(points)
    last = len(points) - 1
    places = [round(i * last / (_SHOWN_POINTS - 1)) for i in range(_SHOWN_POINTS)]
    return [points[place] for place in places]
