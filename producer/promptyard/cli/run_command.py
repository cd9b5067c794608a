"""What ``run`` and ``demo`` share: run a file, report on it, end with its exit code."""

from __future__ import annotations

from collections.abc import Callable

import typer
from pydantic import SecretStr

from promptyard.cli.local import LocalStack, find_stack
from promptyard.cli.options import print_json, stderr_console, stdout_console
from promptyard.cli.progress import choose_view
from promptyard.cli.report import print_report
from promptyard.cli.run import RunRequest, run_file
from promptyard.cli.status import stopped_at_budget
from promptyard.embedded import shared_url
from promptyard.interrupts import Interrupts, Stopped
from promptyard.settings import Settings


def run_and_report(
    request: RunRequest,
    *,
    settings: Settings,
    as_json: bool,
    quiet: bool,
    stack: Callable[[Interrupts], LocalStack] | None = None,
) -> None:
    """Run a file and print what it came to.

    Args:
        request: what to run.
        settings: where Redis is; if it does not say, the stack that ``promptyard up`` keeps for
            this home, else one is started.
        as_json: print the summary as JSON, and no progress.
        quiet: show no progress.
        stack: makes the local stack, if not the installed one with its defaults.

    Raises:
        BudgetSpent: the batch has spent its budget.
        Exit: 1 if a line of the input has no line in the output, 130 or 143 after a signal.
    """
    console = stderr_console()
    if stack is None and settings.redis_url is None:
        if url := shared_url(settings.home):
            settings = settings.model_copy(update={"redis_url": SecretStr(url)})
        else:
            stack = default_stack(settings)
    try:
        summary = run_file(
            request,
            settings=settings,
            stack=stack,
            view=choose_view(console, quiet=quiet or as_json),
        )
    except Stopped as stopped:
        console.print(
            f"promptyard: stopped by {stopped}; what has finished is kept, "
            "the same command continues.",
            soft_wrap=True,
        )
        raise typer.Exit(stopped.exit_code) from None
    if as_json:
        print_json(summary)
    else:
        print_report(summary, stdout_console())
    if summary.stopped_at:
        raise stopped_at_budget(
            summary.stopped_at,
            again="then the same command continues. So it does with a higher --max-cost-usd.",
        )
    if not summary.whole:
        raise typer.Exit(1)


def default_stack(settings: Settings) -> Callable[[Interrupts], LocalStack]:
    """The installed local stack, with its defaults.

    Raises:
        StackError: none is installed.
    """
    factory = find_stack()
    return lambda interrupts: factory(settings, signals=lambda: interrupts.count)
