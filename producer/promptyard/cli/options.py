"""Options that several commands share, and what they lead to."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel

from promptyard.errors import SettingsError
from promptyard.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from promptyard.producer import Producer

RedisUrl = Annotated[
    str | None, typer.Option("--redis-url", metavar="URL", help="Redis or Valkey; else REDIS_URL.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="File for the results (JSONL).")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Start over, even if this file was run before.")
]
WaitWhenFull = Annotated[
    bool, typer.Option("--wait-when-full", help="If Redis is full, wait for room for the rest.")
]
InputFile = Annotated[str, typer.Argument(metavar="FILE", help="JSONL file, or - for stdin.")]
MaxCostUsd = Annotated[
    float | None,
    typer.Option("--max-cost-usd", metavar="USD", help="Pause the batch before it costs more."),
]
BatchId = Annotated[str, typer.Argument(metavar="BATCH", help="Batch id.")]


def read_settings(redis_url: str | None) -> Settings:
    """Settings of the environment, with the option's URL if there is one.

    Raises:
        SettingsError: a setting cannot be used.
    """
    environ = dict(os.environ)
    if redis_url:
        environ["REDIS_URL"] = redis_url
    return Settings.from_env(environ)


def find_url(settings: Settings) -> str | None:
    """Redis as set, else the server that `promptyard up` runs for this home."""
    if settings.redis_url:
        return settings.redis_url.get_secret_value()
    from promptyard.embedded import running_url

    return running_url(settings.home)


def connect(redis_url: str | None) -> Producer:
    """A producer on the running stack.

    Raises:
        SettingsError: no Redis is named, and no stack of this home runs.
    """
    from promptyard.producer import Producer

    settings = read_settings(redis_url)
    url = find_url(settings)
    if url is None:
        raise SettingsError(
            f"No Redis to talk to: set REDIS_URL or --redis-url, or start a stack with "
            f"`promptyard up` (none runs in {settings.home})."
        )
    return Producer(url, settings=settings)


def stderr_console() -> Console:
    """Where progress and remarks go."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def stdout_console() -> Console:
    """Where tables go."""
    from rich.console import Console

    return Console(highlight=False)


def print_json(data: BaseModel | dict[str, Any] | list[Any]) -> None:
    """Print data as JSON, on one line."""
    text = data.model_dump_json() if isinstance(data, BaseModel) else json.dumps(data)
    sys.stdout.write(text + "\n")
