"""The commands that the worker package adds to ``promptyard``: up, demo, worker, sim, route."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated, Final

import typer

from promptyard.cli.options import AsJson, Output, Quiet, RedisUrl, find_url, read_settings
from promptyard.errors import InputError, SettingsError
from promptyard_worker.worker import LOG_LEVEL, run_worker

#: The demo's stand-in is quicker than the models, so that 300 prompts take half a minute.
DEMO_LATENCY_SCALE: Final = 0.35

Slots = Annotated[int | None, typer.Option(min=1, help="Calls in flight on this tier.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app; what they need is loaded when one runs."""
    for command in (demo, up, worker, route):
        app.command()(command)
    with contextlib.suppress(ModuleNotFoundError):  # its options are its own module's
        from promptyard_worker.sim.command import sim

        app.command()(sim)


def demo(
    output: Output = Path("results.jsonl"),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run 300 example prompts through a stack of its own, from submit to results.

    Without a key the answers are simulated and cost nothing.
    """
    from promptyard.cli.run import RunRequest
    from promptyard.cli.run_command import run_and_report
    from promptyard_worker.stack import LocalStack

    settings = read_settings(None)
    # apart from the user's Redis and home, and nothing of an earlier demo in the way
    own = settings.model_copy(update={"redis_url": None, "home": settings.home / "demo"})
    run_and_report(
        RunRequest(str(example_prompts()), output, fresh=True),
        settings=own,
        as_json=as_json,
        quiet=quiet,
        stack=lambda interrupts: LocalStack(
            own,
            signals=lambda: interrupts.count,
            latency_scale=DEMO_LATENCY_SCALE,
            persist=False,
        ),
    )


def up(
    pro: Slots = None,
    flash: Slots = None,
    lite: Slots = None,
    latency_scale: Annotated[
        float | None, typer.Option(min=0, help="Of the stand-in: 1 is real latency (default 0.1).")
    ] = None,
    redis_url: RedisUrl = None,
) -> None:
    """Start a local stack and keep it running until ctrl-C.

    Valkey if REDIS_URL is unset, simulated models if no key is set, a classify worker and one
    worker a tier.
    """
    from promptyard_worker.up import keep_up

    slots = {"pro": pro, "flash": flash, "lite": lite}
    keep_up(
        read_settings(redis_url),
        concurrency={queue: number for queue, number in slots.items() if number is not None},
        latency_scale=latency_scale,
    )


def worker(
    queues: Annotated[list[str], typer.Argument(metavar="QUEUE...", help="classify or a tier.")],
    concurrency: Annotated[int | None, typer.Option(help="Tasks at once.")] = None,
    loglevel: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING, ERROR.")] = LOG_LEVEL,
    redis_url: RedisUrl = None,
) -> None:
    """Run one worker on some queues until SIGTERM or ctrl-C."""
    settings = read_settings(redis_url)
    url = find_url(settings)
    if url is None:
        raise SettingsError(
            "A worker needs Redis: set REDIS_URL or --redis-url, or start `promptyard up`."
        )
    os.environ["REDIS_URL"] = url  # where the Celery app looks
    run_worker(queues, concurrency=concurrency, log_level=loglevel)


def route(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A prompt.")],
    as_json: AsJson = False,
) -> None:
    """Explain which tier a prompt would go to, and why; calls no model."""
    from promptyard_worker.explanation import explain

    explain(text, settings=read_settings(None), as_json=as_json)


def example_prompts() -> Path:
    """The example prompts: in the wheel, or at the root of the source tree."""
    here = Path(__file__).resolve().parent
    for folder in (here, here.parent.parent):
        path = folder / "examples" / "prompts.jsonl"
        if path.is_file():
            return path
    raise InputError("examples/prompts.jsonl is missing: install promptyard again.")
