"""``promptyard run``: a file in, a file out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from promptyard.batch import BatchStatus
from promptyard.cli.batch_run import BatchRun
from promptyard.cli.local import LocalStack, running
from promptyard.cli.progress import Snapshot, View
from promptyard.cli.submission import file_batch
from promptyard.cli.summary import RunSummary, summarise
from promptyard.cli.tally import Tally
from promptyard.cli.troubles import troubles
from promptyard.errors import InputError, StoreError
from promptyard.formats.results import ResultWriter
from promptyard.formats.source import open_source
from promptyard.interrupts import Interrupts
from promptyard.names import QUEUES
from promptyard.producer import Producer
from promptyard.room import WhenFull
from promptyard.settings import Settings

_LOOK_EVERY_S: Final = 0.15
_WORKERS_EVERY_S: Final = 5.0


@dataclass(frozen=True)
class RunRequest:
    """What to run."""

    #: Path of the input, ``-`` for stdin.
    source: str
    output: Path
    #: Start over, although the same file was run before.
    fresh: bool = False
    #: The batch pauses before it costs more; None: as it is.
    max_cost_usd: float | None = None
    #: What to do when Redis has no room for the rest of the file.
    when_full: WhenFull = "raise"


def run_file(
    request: RunRequest,
    *,
    settings: Settings,
    stack: Callable[[Interrupts], LocalStack] | None,
    view: View,
) -> RunSummary:
    """Run a file's jobs and write their results.

    Args:
        request: what to run.
        settings: where Redis is, if no stack is to be started.
        stack: makes the local stack to run it on; None: one is running already.
        view: shows how far it is.

    A run whose batch has spent its budget ends there, and leaves what there is as ``OUT.part``.

    Raises:
        PromptyardError: it could not be run to its end; run it again to continue.
        Stopped: likewise, by a signal.
    """
    with (
        Interrupts() as interrupts,
        open_source(request.source) as source,
        _writer(request.output, source) as writer,
        _yard(stack, interrupts, settings, view) as (url, check),
        Producer(url, settings=settings) as producer,
    ):
        summary = _run(request, source, writer, producer, view, check)
        if summary.stopped_at:
            return summary.model_copy(update={"output": writer.leave()})
        writer.finish()
    return summary


def _run(
    request: RunRequest,
    source: Path,
    writer: ResultWriter,
    producer: Producer,
    view: View,
    check: Callable[[], None],
) -> RunSummary:
    began_s = time.monotonic()
    batch_id = file_batch(
        producer,
        source,
        name=request.source,
        fresh=request.fresh,
        max_cost_usd=request.max_cost_usd,
        when_full=request.when_full,
    )
    before = producer.status(batch_id)
    begin = partial(
        BatchRun, producer, batch_id, source=source, writer=writer, when_full=request.when_full
    )
    with view:
        if before.total:
            view.say(
                f"continuing batch {batch_id}: {before.finished:,} of {before.total:,} jobs had "
                "ended and are not called again (--fresh starts over)"
            )
        run, status = _passes(begin, producer, before, view, check)
    return summarise(
        run.tally,
        batch_id=batch_id,
        output=request.output,
        finished=writer.count,
        retries=status.retries,
        fallbacks=status.fallbacks,
        elapsed_s=time.monotonic() - began_s,
        continued=bool(before.total),
        stopped_at=run.stopped_at,
        unanswered=run.unanswered,
    )


def _passes(
    begin: Callable[..., BatchRun],
    producer: Producer,
    before: BatchStatus,
    view: View,
    check: Callable[[], None],
) -> tuple[BatchRun, BatchStatus]:
    """Run to the end; gives the run, and the last counters.

    A job that is put back meanwhile may have two lines in the output, one as it had failed and
    one as it ended: then it is written anew, from results that hold each job once.
    """
    revived = before.revived
    while True:
        run = begin(tally=Tally(producer.catalog()))
        try:
            run.start()
            status = _watch(run, producer, before, view, check)
        finally:
            run.abandon()
        if status.revived == revived or not run.writer.restart():
            return run, status
        revived = status.revived
        view.say("`promptyard retry` has put jobs back meanwhile: the output is written anew")


def _watch(
    run: BatchRun,
    producer: Producer,
    status: BatchStatus,
    view: View,
    check: Callable[[], None],
) -> BatchStatus:
    """Show the run until it is done; gives the last counters."""
    warning, look_for_workers_s = "", time.monotonic() + _WORKERS_EVERY_S
    while not run.done:
        check()
        try:
            status = producer.status(run.batch_id)
            if time.monotonic() > look_for_workers_s:
                look_for_workers_s = time.monotonic() + _WORKERS_EVERY_S
                warning = missing_workers(producer) or unwell_models(producer)
        except StoreError:
            warning = "Redis is away; waiting for it"  # the run's threads decide for how long
        view.show(
            Snapshot(status, run.tally.lines, run.all_in, bad=run.tally.bad_count, warning=warning)
        )
        time.sleep(_LOOK_EVERY_S)
    return producer.status(run.batch_id)


def missing_workers(producer: Producer) -> str:
    """A warning that names the queues no live worker consumes; empty if there are none."""
    served = {queue for card in producer.workers() for queue in card.queues}
    missing = [queue for queue in QUEUES if queue not in served]
    return f"no worker on {', '.join(missing)}: start `promptyard up`" if missing else ""


def unwell_models(producer: Producer) -> str:
    """A warning of what holds up the models' calls; empty if nothing does."""
    return ", ".join(f"{one.model}: {one.what}" for one in troubles(producer.models()))


def _writer(output: Path, source: Path) -> ResultWriter:
    if output.exists() and output.samefile(source):
        raise InputError(f"{output} is the input itself: give another path for the output.")
    return ResultWriter(output)


@contextlib.contextmanager
def _yard(
    make_stack: Callable[[Interrupts], LocalStack] | None,
    interrupts: Interrupts,
    settings: Settings,
    view: View,
) -> Iterator[tuple[str | None, Callable[[], None]]]:
    """Where the run's Redis is, and a check that its stack is sound."""
    if make_stack is None:
        url = settings.redis_url
        yield (url.get_secret_value() if url else None), lambda: None
        return
    view.say("starting the local stack ...")
    stack = make_stack(interrupts)
    with running(stack, interrupts):
        yield stack.url, stack.check
