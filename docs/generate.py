"""Writes docs/reference from the code: `python docs/generate.py`; a test fails when it is stale."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import typer
import typer.main
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from promptyard import errors, settings
from promptyard.cli.app import build_app
from promptyard.job import ErrorType
from promptyard_worker.observe import exporter
from promptyard_worker.observe.metrics import Metrics
from promptyard_worker.routing import config, execution, stages

HERE: Final = Path(__file__).parent / "reference"
NOTE: Final = "<!-- Made by docs/generate.py: change the code, then run it. -->"


def pages() -> dict[str, str]:
    """File name -> text."""
    return {
        "commands.md": _commands(),
        "settings.md": _settings(),
        "router-file.md": _router_file(),
        "errors.md": _errors(),
        "metrics.md": _metrics(),
    }


def _commands() -> str:
    app = typer.main.get_command(build_app())
    parts = ["# Commands", NOTE, *_command(app, "promptyard")]
    return "\n\n".join(parts) + "\n"


def _command(command: Any, path: str) -> list[str]:
    if subs := getattr(command, "commands", None):
        found = []
        for name, sub in subs.items():
            if not sub.hidden:
                found += _command(sub, f"{path} {name}")
        return found
    rows = ["| | |", "|---|---|"]
    rows += [
        f"| {_spelling(param)} | {_cell(getattr(param, 'help', '') or '')} |"
        for param in command.params
        if param.name != "help"
    ]
    about = inspect.cleandoc(command.help or "")
    return [f"## {path}", about, *(["\n".join(rows)] if len(rows) > 2 else [])]


def _spelling(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{param.metavar or param.name.upper()}`"
    return ", ".join(f"`{name}`" for name in [*param.opts, *param.secondary_opts])


def _settings() -> str:
    rows = ["| variable | meaning | default |", "|---|---|---|"]
    comments = _comments(settings.Settings)
    for name, field in settings.Settings.model_fields.items():
        variable = settings._VARIABLES[name]
        rows.append(f"| `{variable}` | {_cell(comments.get(name, ''))} | {_default(field)} |")
    more = (
        "`GEMINI_API_KEY`, `GOOGLE_API_KEY`, `GOOGLE_CLOUD_PROJECT`, `GOOGLE_CLOUD_LOCATION` and "
        "`GOOGLE_GEMINI_BASE_URL` mean what they mean to Google's SDK. `REDIS_PASSWORD` is put "
        "into `REDIS_URL`. A name with `_FILE` behind it names a file that holds the value."
    )
    return "\n\n".join(["# Settings", NOTE, "\n".join(rows), more]) + "\n"


def _router_file() -> str:
    parts = [
        "# router.yaml",
        NOTE,
        "[Routing](../routing.md) and [execution](../execution.md) explain.",
    ]
    seen: list[type[BaseModel]] = []
    for module in (config, execution, stages):
        for _, model in inspect.getmembers(module, inspect.isclass):
            if issubclass(model, BaseModel) and model.__module__ == module.__name__:
                seen.append(model)
    for model in seen:
        if not model.model_fields or model.__name__ == "Frozen":
            continue
        rows = ["| key | meaning | default |", "|---|---|---|"]
        comments = _comments(model)
        for name, field in model.model_fields.items():
            rows.append(
                f"| `{field.alias or name}` | {_cell(comments.get(name, ''))} | {_default(field)} |"
            )
        title = re.sub(r"Config$", "", model.__name__)
        parts += [f"## {title}", inspect.cleandoc(model.__doc__ or ""), "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def _errors() -> str:
    types = ["| `error.type` | meaning |", "|---|---|"]
    comments = _comments(ErrorType)
    types += [f"| `{kind}` | {_cell(comments.get(kind.name, ''))} |" for kind in ErrorType]
    raised = ["| raised | exit code | meaning |", "|---|---|---|"]
    for name, error in inspect.getmembers(errors, inspect.isclass):
        if issubclass(error, errors.PromptyardError):
            first = inspect.cleandoc(error.__doc__ or "").split("\n\n")[0]
            raised.append(f"| `{name}` | {error.exit_code} | {_cell(first)} |")
    parts = ["# Errors", NOTE, "Of a job:", "\n".join(types), "Of the library:", "\n".join(raised)]
    return "\n\n".join(parts) + "\n"


def _metrics() -> str:
    own = ["| metric | type | meaning | labels |", "|---|---|---|---|"]
    for metric in vars(Metrics()).values():
        if isinstance(metric, MetricWrapperBase):
            suffix = "_total" if metric._type == "counter" else ""
            name, labels = f"{metric._name}{suffix}", metric._labelnames
            own.append(_row(name, str(metric._type), metric._documentation, labels))
    store = own[:2]
    store += [_row(name, "gauge", *about) for name, about in exporter.GAUGES.items()]
    intro = "[Monitoring](../monitoring.md) says what to look at. No id is ever a label."
    mine = "Of each worker, at `--metrics-port`:"
    theirs = "Of the store, at `promptyard exporter`; one is enough for a yard:"
    parts = ["# Metrics", NOTE, intro, mine, "\n".join(own), theirs, "\n".join(store)]
    return "\n\n".join(parts) + "\n"


def _row(name: str, kind: str, meaning: str, labels: Sequence[str]) -> str:
    listed = ", ".join(f"`{label}`" for label in labels)
    return f"| `{name}` | {kind} | {_cell(meaning)} | {listed} |"


def _comments(owner: type) -> dict[str, str]:
    """The ``#:`` comments above the fields of a class."""
    found: dict[str, str] = {}
    gathered: list[str] = []
    for line in inspect.getsource(owner).splitlines():
        text = line.strip()
        if text.startswith("#:"):
            gathered.append(text[2:].strip())
        elif (match := re.match(r"(\w+)\s*[:=]", text)) and gathered:
            found[match[1]] = " ".join(gathered)
            gathered = []
        elif not text.startswith("#"):
            gathered = []
    return found


def _default(field: Any) -> str:
    if field.default is PydanticUndefined and field.default_factory is None:
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, (BaseModel, dict, tuple)) or _is_of_this_machine(value):
        return ""
    return f"`{value}`"


def _is_of_this_machine(value: object) -> bool:
    """Whether a default is a place of this installation."""
    return isinstance(value, Path) and value.is_absolute()


def _cell(text: str) -> str:
    return re.sub(r"``(.*?)``", r"`\1`", " ".join(text.split())).replace("|", "\\|")


def main() -> int:
    """Write the pages; with --check only compare."""
    HERE.mkdir(exist_ok=True)
    stale = []
    for name, text in pages().items():
        path = HERE / name
        if not path.is_file() or path.read_text() != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text)
    sys.stdout.write(
        f"{', '.join(stale) or 'nothing'} {'is stale' if '--check' in sys.argv else 'written'}\n"
    )
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
