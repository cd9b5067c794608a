"""``promptyard router calibrate``: fits the probabilities of the semantic stage."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from promptyard.cli.options import (
    AsJson,
    print_json,
    read_settings,
    stderr_console,
)
from promptyard.cli.words import count
from promptyard_worker.eval_command import LabelledFile, RouterFile, say_problems
from promptyard_worker.routing_services import routing_services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from promptyard_worker.routing.calibration import CalibrationFit
    from promptyard_worker.routing.stages import Calibration

_YAML_WIDTH: Final = 100


class Method(StrEnum):
    """How scores become probabilities."""

    PLATT = "platt"
    ISOTONIC = "isotonic"


MethodOption = Annotated[
    Method,
    typer.Option("--method", help="A smooth curve, or steps, which need a thousand prompts."),
]


def calibrate(
    file: LabelledFile,
    router: RouterFile = None,
    method: MethodOption = Method.PLATT,
    as_json: AsJson = False,
) -> None:
    """Fit the semantic stage's probabilities; print the lines for the router file.

    Calls no model, unless the router file names a Gemini encoder.
    """
    from promptyard_worker.routing.calibration import fit_calibration
    from promptyard_worker.routing.file import find_router_file, load_router
    from promptyard_worker.routing.labelled import read_labelled

    settings = read_settings(None)
    config = load_router(find_router_file(router or settings.router_file))
    labelled = read_labelled(file)
    with routing_services(settings) as services:
        fit = fit_calibration(config, labelled, services, method=method.value)
    if as_json:
        print_json(fit)
        return
    say_problems(fit.problems)
    console = stderr_console()
    for line in _report(fit):
        console.print(line, markup=False, soft_wrap=True)
    console.print(_bars(fit))
    sys.stdout.write(as_yaml(fit.calibration))


def as_yaml(calibration: Calibration) -> str:
    """The lines to put under ``semantic`` in the router file, that key included."""
    import yaml

    params = {name: list(values) for name, values in calibration.params.items()}
    content = {"semantic": {"calibration": {"method": calibration.method, "params": params}}}
    return yaml.safe_dump(content, default_flow_style=None, sort_keys=False, width=_YAML_WIDTH)


def _report(fit: CalibrationFit) -> Iterator[str]:
    yield from fit.remarks
    yield f"{count(fit.choices, 'choice')}, {fit.right:.1%} right"
    yield (
        f"calibration error: {fit.error_before:.3f} as the file is, {fit.error_after:.3f} "
        f"calibrated (of prompts it was not fitted on)"
    )


def _bars(fit: CalibrationFit) -> Table:
    from rich.table import Table

    table = Table("threshold", "sure of", "right there")
    for bar in fit.bars:
        table.add_row(f"{bar.threshold:g}", f"{bar.sure:.1%}", f"{bar.right:.1%}")
    return table
