"""The commands of the producer package: short ladders; heavy modules load when one runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from promptyard.cli.options import (
    AsJson,
    BatchId,
    Fresh,
    InputFile,
    Output,
    Quiet,
    RedisUrl,
    connect,
    print_json,
    read_settings,
    stderr_console,
    stdout_console,
)


def register(app: typer.Typer) -> None:
    """Add the commands to the app, in the order in which help shows them."""
    for command in (run, submit, status, follow, results, cancel, doctor):
        app.command()(command)


def run(
    file: InputFile,
    output: Output = Path("results.jsonl"),
    fresh: Fresh = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    redis_url: RedisUrl = None,
) -> None:
    """Run a file of prompts to its end and write a file of results.

    The same file again continues where it stopped. Uses the stack at REDIS_URL, or starts a
    local one for the run.
    """
    from promptyard.cli.run import RunRequest
    from promptyard.cli.run_command import run_and_report

    settings = read_settings(redis_url)
    request = RunRequest(file, output, fresh=fresh)
    run_and_report(request, settings=settings, as_json=as_json, quiet=quiet)


def submit(
    file: InputFile,
    fresh: Fresh = False,
    as_json: AsJson = False,
    redis_url: RedisUrl = None,
) -> None:
    """Put in a file of prompts and print the batch id; the same file again adds nothing."""
    from promptyard.cli.submission import submit_file
    from promptyard.cli.words import count

    with connect(redis_url) as producer:
        submission = submit_file(producer, file, fresh=fresh)
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
    as_json: AsJson = False,
    redis_url: RedisUrl = None,
) -> None:
    """Show how far a batch is, or list the recent ones."""
    from promptyard.cli.status import batch_table, status_table

    with connect(redis_url) as producer:
        found = [producer.status(batch)] if batch else producer.batches()
    if as_json:
        documents = [one.model_dump(mode="json") for one in found]
        print_json(documents[0] if batch else documents)
    else:
        stdout_console().print(status_table(found[0]) if batch else batch_table(found))


def follow(
    batch: BatchId,
    cursor: Annotated[
        str, typer.Option(help="Go on after this cursor (an earlier follow printed it).")
    ] = "0-0",
    redis_url: RedisUrl = None,
) -> None:
    """Print results as they land, one JSON object a line, until the batch is done."""
    from promptyard.formats.results import encode_result

    with connect(redis_url) as producer:
        follower = producer.follow(batch, cursor=cursor)
        try:
            for result in follower:
                sys.stdout.buffer.write(encode_result(result))
                sys.stdout.buffer.flush()  # a reader wants it now, not with the next 8 kB
        except KeyboardInterrupt:
            typer.echo(f"to go on: promptyard follow {batch} --cursor {follower.cursor}", err=True)
            raise


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


def cancel(batch: BatchId, as_json: AsJson = False, redis_url: RedisUrl = None) -> None:
    """Cancel every job of a batch that has not ended."""
    from promptyard.cli.words import count

    with connect(redis_url) as producer:
        cancelled = producer.cancel(batch)
    if as_json:
        print_json({"batch_id": batch, "cancelled": cancelled})
    else:
        typer.echo(f"{count(cancelled, 'job')} cancelled")


def doctor(as_json: AsJson = False, redis_url: RedisUrl = None) -> None:
    """Check Redis, the key, the router file, the workers and the versions."""
    from promptyard.cli.doctor import examine, findings_table

    findings = examine(read_settings(redis_url))
    if as_json:
        print_json([finding.model_dump(mode="json") for finding in findings])
    else:
        stdout_console().print(findings_table(findings))
    if any(finding.verdict == "fail" for finding in findings):
        raise typer.Exit(1)
