"""What the worker package adds to ``promptyard``: up, demo, worker, report, top, route and more."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated, Final

import typer

from promptyard.cli.options import (
    AsJson,
    Output,
    Quiet,
    RedisUrl,
    find_url,
    print_json,
    read_settings,
    stdout_console,
)
from promptyard.errors import InputError, SettingsError
from promptyard.job import Job
from promptyard_worker.drain import DRAIN_S
from promptyard_worker.eval_command import RouterFile, evaluate
from promptyard_worker.fit_command import fit
from promptyard_worker.report.command import leave_report, report
from promptyard_worker.router_command import router
from promptyard_worker.top.command import top
from promptyard_worker.worker import LOG_LEVEL, run_worker

#: The demo's stand-in is quicker than the models, so that 300 prompts take half a minute.
DEMO_LATENCY_SCALE: Final = 0.35

Slots = Annotated[int | None, typer.Option(min=1, help="Calls in flight on this tier.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the app; what they need is loaded when one runs."""
    for command in (demo, up, worker, report, top, exporter, flower, route, fit):
        app.command()(command)
    app.command("eval")(evaluate)
    app.add_typer(router, name="router")
    with contextlib.suppress(ModuleNotFoundError):  # its options are its own module's
        from promptyard_worker.sim.command import sim

        app.command()(sim)


def demo(
    output: Output = Path("results.jsonl"),
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run 300 example prompts through a stack of its own, from submit to results and report.

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
    if output.is_file():  # not where it is a pipe
        leave_report(output, input_file=str(example_prompts()))


def up(
    pro: Slots = None,
    flash: Slots = None,
    lite: Slots = None,
    latency_scale: Annotated[
        float | None, typer.Option(min=0, help="Of the stand-in: 1 is real latency (default 0.1).")
    ] = None,
    flower: Annotated[
        bool, typer.Option("--flower", help="Start Flower too, on this machine only.")
    ] = False,
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
        flower=flower,
    )


def worker(
    queues: Annotated[list[str], typer.Argument(metavar="QUEUE...", help="classify or a tier.")],
    concurrency: Annotated[int | None, typer.Option(help="Tasks at once.")] = None,
    loglevel: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING, ERROR.")] = LOG_LEVEL,
    drain: Annotated[
        float, typer.Option(min=0, help="Seconds calls in flight may take when it is stopped.")
    ] = DRAIN_S,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Serve Prometheus metrics here.")
    ] = None,
    events: Annotated[
        bool, typer.Option("--events", help="Send Celery's events, for Flower.")
    ] = False,
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
    run_worker(
        queues,
        concurrency=concurrency,
        log_level=loglevel,
        drain_s=drain,
        metrics_port=metrics_port,
        events=events,
    )


def exporter(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Where to listen.")] = 9464,
    host: Annotated[str, typer.Option(help="Address; only this machine by default.")] = "127.0.0.1",
    redis_url: RedisUrl = None,
) -> None:
    """Serve what the store knows to Prometheus: queues, batches, quota, breakers, workers."""
    from promptyard_worker.observe.serving import serve_store

    settings = read_settings(redis_url)
    url = find_url(settings)
    if url is None:
        raise SettingsError(
            "The exporter needs Redis: set REDIS_URL or --redis-url, or start `promptyard up`."
        )
    serve_store(url, settings, host=host, port=port)


def flower(
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Where to listen.", envvar="FLOWER_PORT")
    ] = 5555,
    host: Annotated[str, typer.Option(help="Address; only this machine by default.")] = "127.0.0.1",
    redis_url: RedisUrl = None,
) -> None:
    """Run Flower on this yard; workers tell it what they do if they run with --events.

    FLOWER_BASIC_AUTH=user:password asks for a password; FLOWER_BASIC_AUTH_FILE names its file.
    """
    from promptyard_worker.flower import run_flower

    url = find_url(read_settings(redis_url))
    if url is None:
        raise SettingsError(
            "Flower needs Redis: set REDIS_URL or --redis-url, or start `promptyard up --flower`."
        )
    run_flower(url, host=host, port=port)


def route(
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="A prompt.")] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE", help="A job as JSON (an input line), or -."),
    ] = None,
    router: RouterFile = None,
    count_tokens: Annotated[
        bool, typer.Option("--count-tokens", help="Have the API count the tokens (free of charge).")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Explain where a prompt would go, why, and what it would cost.

    Calls no model, unless the router file names a judge or a Gemini encoder.
    """
    from promptyard_worker.explanation import explain, read_job, show

    if (text is None) == (file is None):
        raise InputError("Give a prompt, or a job by --file.")
    if text is not None and not text.strip():
        raise InputError("The prompt is blank: give a text to route.")
    job = read_job(file) if file is not None else Job(contents=str(text))
    found = explain(job, settings=read_settings(None), router_file=router, count=count_tokens)
    if as_json:
        print_json(found.decision)
    else:
        show(found, stdout_console())


def example_prompts() -> Path:
    """The example prompts: in the wheel, or at the root of the source tree."""
    here = Path(__file__).resolve().parent
    for folder in (here, here.parent.parent):
        path = folder / "examples" / "prompts.jsonl"
        if path.is_file():
            return path
    raise InputError("examples/prompts.jsonl is missing: install promptyard again.")
