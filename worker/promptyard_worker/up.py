"""``promptyard up``: a local stack that stays until it is told to go."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import typer

from promptyard.cli.local import running
from promptyard.interrupts import Interrupts, Stopped
from promptyard.settings import Settings
from promptyard_worker.hangup import Hangup
from promptyard_worker.stack import GRACE_S, LocalStack

_CHECK_EVERY_S: Final = 0.2


def keep_up(
    settings: Settings,
    *,
    concurrency: Mapping[str, int] | None = None,
    latency_scale: float | None = None,
    flower: bool = False,
) -> None:
    """Run a stack until SIGINT or SIGTERM, and stop it cleanly.

    SIGHUP has its workers read the router file; if the terminal has gone, it stops the stack.

    Raises:
        StackError: a part does not start, or does not stay.
    """
    with Interrupts() as interrupts:
        stack = LocalStack(
            settings,
            signals=lambda: interrupts.count,
            concurrency=concurrency,
            latency_scale=latency_scale,
            shared=True,
            flower=flower,
        )
        hangups: list[int] = []
        Hangup(lambda: hangups.append(1)).install()
        typer.echo("starting ...", err=True)
        try:
            with running(stack, interrupts):
                announce(stack, settings)
                _watch(stack, hangups)
        except Stopped:
            typer.echo("stopped", err=True)


def _watch(stack: LocalStack, hangups: list[int]) -> None:
    """Keep the stack up; ``hangups`` grows with each SIGHUP."""
    try:
        while True:
            stack.check()
            if hangups:
                hangups.clear()
                stack.reload()
                typer.echo("SIGHUP: the workers read the router file", err=True)
            time.sleep(_CHECK_EVERY_S)
    except Stopped:
        typer.echo(f"stopping; calls in flight have {GRACE_S:g} s (ctrl-C again: none)", err=True)
        raise


def announce(stack: LocalStack, settings: Settings) -> None:
    """Say what runs, and where: the one line to paste on stdout, all else on stderr."""
    if settings.redis_url is None:  # else whoever set it has it, and its password is not for logs
        typer.echo(f"export REDIS_URL={stack.url}")
    models = (
        f"answers are SIMULATED by the stand-in at {stack.base_url} (no GEMINI_API_KEY)"
        if stack.simulated
        else "models are real, and calls cost money"
    )
    watched = f"Flower at {stack.flower_url}\n" if stack.flower_url else ""
    typer.echo(
        f"up: {models}\n"
        f"{watched}"
        f"logs in {settings.home / 'logs'}; ctrl-C stops\n"
        "in another terminal: promptyard run prompts.jsonl -o results.jsonl",
        err=True,
    )
