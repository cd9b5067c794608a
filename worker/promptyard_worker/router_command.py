"""``promptyard router``: checks and calibrates the router file, writes ours from one of 0.x."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from promptyard.cli.options import AsJson, print_json, read_settings
from promptyard.cli.words import count
from promptyard.errors import InputError, RouterFileError
from promptyard_worker.calibration_command import calibrate

if TYPE_CHECKING:
    from promptyard_worker.routing.config import RouterConfig
    from promptyard_worker.routing.inspection import Inspection
    from promptyard_worker.routing.problems import Finding

_STDOUT: Final = Path("-")

router = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Check, calibrate or migrate a router file."
)
router.command()(calibrate)

File = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="Router file; else the one in use.")
]
LegacyFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="YAML or JSON file of semantic-router 0.x.")
]
Out = Annotated[Path, typer.Option("--output", "-o", help="File to write, or - for stdout.")]
Force = Annotated[bool, typer.Option("--force", help="Write over a file that is there.")]


@router.command()
def check(file: File = None, as_json: AsJson = False) -> None:
    """Say what a router file does, or every problem of it; exit code 2 if it cannot be used."""
    from promptyard_worker.routing.file import find_router_file, inspect_router

    inspection = inspect_router(file or find_router_file(read_settings(None).router_file))
    if as_json:
        print_json(_as_data(inspection))
    else:
        typer.echo("\n".join(_as_lines(inspection)))
    if inspection.config is None:
        raise typer.Exit(RouterFileError.exit_code)
    if "learned" in inspection.config.stage_order and not as_json:
        from promptyard_worker.routing.learned.knob import knob_line  # numpy: only where needed

        if line := knob_line(inspection.config):
            typer.echo(f"  knob     {line}")


@router.command()
def migrate(file: LegacyFile, output: Out = Path("router.yaml"), force: Force = False) -> None:
    """Write a router file of semantic-router 0.x in Promptyard's format."""
    from promptyard_worker.routing.file import inspect_router, refused
    from promptyard_worker.routing.migrate import migrated

    inspection = inspect_router(file)
    if inspection.config is None:
        raise refused(inspection)
    if inspection.translation is None:
        raise InputError(f"{file} is in Promptyard's format already: there is nothing to migrate.")
    text = migrated(inspection.translation, name=file.name)
    if output == _STDOUT:
        sys.stdout.write(text)
        return
    _write(output, text, force=force)
    typer.echo(f"{output} is written; its comments say what was decided and left out.", err=True)


def _write(path: Path, text: str, *, force: bool) -> None:
    """All of it or nothing."""
    part = path.with_name(f"{path.name}.part")
    try:
        if path.exists() and not force:
            raise InputError(
                f"{path} is there already: name another file by -o, or write over it by --force."
            )
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None


def _as_lines(inspection: Inspection) -> list[str]:
    """For people, and for editors that jump to ``file:line``."""
    path = inspection.path
    lines = [f"{path}:{problem}" for problem in inspection.problems]
    lines += [f"{path}:{one.line}: warning: {one.problem}" for one in inspection.warnings]
    warned = f", {count(len(inspection.warnings), 'warning')}" if inspection.warnings else ""
    if inspection.config is None:
        return [*lines, f"{path}: {count(len(inspection.problems), 'problem')}{warned}"]
    kind = "" if inspection.translation is None else ", a file of semantic-router 0.x"
    return [*lines, f"{path}: OK{warned}{kind}", *_summary(inspection.config)]


def _summary(config: RouterConfig) -> list[str]:
    routes = []
    for address, route in config.leaves():
        chain = config.fallback_chain(str(route.model), route=address)
        routes.append(f"{address} -> {route.tier}: {', then '.join(chain)}")
    rows = [
        ("policy", config.policy_version),
        ("stages", " -> ".join((*config.stage_order, f"default ({config.default})"))),
        ("encoder", " ".join(filter(None, (config.encoder.type, config.encoder.name)))),
        ("models", ", ".join(config.models)),
        *((("routes" if not i else ""), route) for i, route in enumerate(routes)),
    ]
    return [f"  {name:<8} {value}" for name, value in rows]


def _as_data(inspection: Inspection) -> dict[str, Any]:
    config = inspection.config
    return {
        "file": str(inspection.path),
        "ok": config is not None,
        "format": "promptyard" if inspection.translation is None else "semantic-router 0.x",
        "problems": [_finding_data(finding) for finding in inspection.problems],
        "warnings": [_finding_data(finding) for finding in inspection.warnings],
        "policy": None if config is None else _policy_data(config),
    }


def _policy_data(config: RouterConfig) -> dict[str, Any]:
    return {
        "version": config.policy_version,
        "stages": [*config.stage_order],
        "default": config.default.value,
        "encoder": config.encoder.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        | {"type": config.encoder.type},
        "models": [*config.models],
        "routes": [
            {
                "route": address,
                "tier": route.tier,
                "models": [*config.fallback_chain(str(route.model), route=address)],
                "utterances": len(route.utterances),
            }
            for address, route in config.leaves()
        ],
    }


def _finding_data(finding: Finding) -> dict[str, Any]:
    from promptyard_worker.routing.problems import render

    problem = finding.problem
    return {
        "line": finding.line,
        "key": render(problem.path),
        "what": problem.what,
        "remedy": problem.remedy,
    }
