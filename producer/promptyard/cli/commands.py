"""The commands of the producer package: short ladders; heavy modules load when one runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptyard.cli.control_commands import cancel, pause, resume
from promptyard.cli.dead_letters import failed, retry
from promptyard.cli.options import (
    AsJson,
    BatchId,
    Fresh,
    InputFile,
    MaxCostUsd,
    Output,
    Quiet,
    RedisUrl,
    WaitWhenFull,
    connect,
    print_json,
    read_settings,
    stderr_console,
    stdout_console,
)

if TYPE_CHECKING:
    from promptyard.room import WhenFull


def register(app: typer.Typer) -> None:
    """Add the commands to the app, in the order in which help shows them."""
    commands: tuple[Callable[..., None], ...] = (
        *(run, submit, status, follow, results),
        *(pause, resume, cancel, failed, retry, doctor),
    )
    for command in commands:
        app.command()(command)
    app.command(hidden=True)(healthcheck)


def run(
    file: InputFile,
    output: Output = Path("results.jsonl"),
    fresh: Fresh = False,
    max_cost_usd: MaxCostUsd = None,
    wait_when_full: WaitWhenFull = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    redis_url: RedisUrl = None,
) -> None:
    """Run a file of prompts to its end and write a file of results.

    The same file again continues where it stopped, or paused for its budget. Uses the stack at
    REDIS_URL, or starts a local one for the run.
    """
    from promptyard.cli.run import RunRequest
    from promptyard.cli.run_command import run_and_report

    settings = read_settings(redis_url)
    when_full: WhenFull = "wait" if wait_when_full else "raise"
    request = RunRequest(file, output, fresh=fresh, max_cost_usd=max_cost_usd, when_full=when_full)
    run_and_report(request, settings=settings, as_json=as_json, quiet=quiet)


def submit(
    file: InputFile,
    fresh: Fresh = False,
    max_cost_usd: MaxCostUsd = None,
    wait_when_full: WaitWhenFull = False,
    as_json: AsJson = False,
    redis_url: RedisUrl = None,
) -> None:
    """Put in a file of prompts and print the batch id; the same file again adds nothing."""
    from promptyard.cli.submission import submit_file
    from promptyard.cli.words import count

    with connect(redis_url) as producer:
        when_full: WhenFull = "wait" if wait_when_full else "raise"
        submission = submit_file(
            producer, file, fresh=fresh, max_cost_usd=max_cost_usd, when_full=when_full
        )
    if as_json:
        print_json(submission)
        return
    console = stderr_console()
    for bad in submission.bad_lines:
        console.print(f"line {bad.line}: {bad.message}", markup=False, soft_wrap=True)
    console.print(
        f"{count(submission.submitted, 'job')} submitted, {submission.existing:,} were in already, "
        f"{count(submission.bad, 'bad line')} left out",
        soft_wrap=True,
    )
    typer.echo(submission.batch_id)


def status(
    batch: Annotated[
        str | None,
        typer.Argument(metavar="[BATCH]", help="Batch id; all recent ones if not given."),
    ] = None,
    routes: Annotated[
        bool, typer.Option("--routes", help="Answers, repairs and escalations of each route.")
    ] = False,
    as_json: AsJson = False,
    redis_url: RedisUrl = None,
) -> None:
    """Show how far a batch is; or the recent batches, and the models that are not well."""
    from promptyard.cli.status import show_batch, show_routes, show_yard

    with connect(redis_url) as producer:
        if routes:
            show_routes(producer, as_json=as_json)
        elif batch:
            show_batch(producer, batch, as_json=as_json)
        else:
            show_yard(producer, as_json=as_json)


def follow(
    batch: BatchId,
    cursor: Annotated[
        str, typer.Option(help="Go on after this cursor (an earlier follow printed it).")
    ] = "0-0",
    redis_url: RedisUrl = None,
) -> None:
    """Print results as they land, one JSON object a line, until the batch is done.

    Ends as well when the batch has spent its budget.
    """
    from promptyard.cli.status import stopped_at_budget
    from promptyard.formats.results import encode_result

    with connect(redis_url) as producer:
        follower = producer.follow(batch, cursor=cursor, stop_at_budget=True)
        try:
            for result in follower:
                sys.stdout.buffer.write(encode_result(result))
                sys.stdout.buffer.flush()  # a reader wants it now, not with the next 8 kB
        except KeyboardInterrupt:
            typer.echo(f"to go on: promptyard follow {batch} --cursor {follower.cursor}", err=True)
            raise
    if follower.status is not None and follower.status.out_of_budget:
        again = f"then: promptyard follow {batch} --cursor {follower.cursor}"
        raise stopped_at_budget(follower.status, again=again)


def results(
    batch: BatchId,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for the results; else stdout.")
    ] = None,
    as_json: AsJson = False,
    redis_url: RedisUrl = None,
) -> None:
    """Write the results there are by now, one JSON object a line; does not wait."""
    from promptyard.formats.results import ResultWriter, encode_result

    with connect(redis_url) as producer:
        found = producer.results(batch)
        if output is None:
            for result in found:
                sys.stdout.buffer.write(encode_result(result))
            return
        with ResultWriter(output) as writer:
            for result in found:
                writer.write(result)
    if as_json:
        print_json({"batch_id": batch, "output": str(output), "results": writer.count})
    else:
        typer.echo(f"{writer.count} results in {output}", err=True)


def doctor(as_json: AsJson = False, redis_url: RedisUrl = None) -> None:
    """Check Redis, the key, the router file, the workers and the versions."""
    from promptyard.cli.doctor.examination import examine
    from promptyard.cli.doctor.finding import findings_table

    findings = examine(read_settings(redis_url))
    if as_json:
        print_json([finding.model_dump(mode="json") for finding in findings])
    else:
        stdout_console().print(findings_table(findings))
    if any(finding.verdict == "fail" for finding in findings):
        raise typer.Exit(1)


def healthcheck(redis_url: RedisUrl = None) -> None:
    """Ask whether a worker of this host is at work: for containers. Exit code 1 if none is."""
    import socket

    with connect(redis_url) as producer:
        here = [card for card in producer.workers() if card.host == socket.gethostname()]
    typer.echo(f"{len(here)} workers of this host are at work")
    if not here:
        raise typer.Exit(1)
