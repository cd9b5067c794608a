"""One worker process: the line that starts it.

``python -m promptyard_worker.worker QUEUE [QUEUE...]`` and ``promptyard worker QUEUE...`` are
the same. The pool is threads (docs/decisions): a task waits on the network, not on the CPU.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from promptyard.errors import PromptyardError, SettingsError
from promptyard.names import CLASSIFY_QUEUE, QUEUES, Tier
from promptyard.secret_files import read_secret_files
from promptyard_worker.drain import VARIABLE as DRAIN_VARIABLE

#: Tasks a worker runs at once, by queue. A model call is a thread that waits; routing is
#: CPU, where more than one chunk at a time gains nothing.
CONCURRENCY: Final = {CLASSIFY_QUEUE: 1, Tier.PRO: 32, Tier.FLASH: 64, Tier.LITE: 64}
#: Celery's own default; at INFO a line or two go to the log for every job.
LOG_LEVEL: Final = "WARNING"
#: Several native libraries are at work, whose thread pools would only fight for the CPU:
#: routing takes half the CPU with one BLAS thread. Read when numpy is first imported.
_NATIVE_THREADS: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def default_concurrency(queues: Sequence[str]) -> int:
    """Tasks at once for a worker of these queues: the sum of what each would get."""
    return sum(CONCURRENCY[queue] for queue in queues)


def celery_arguments(
    queues: Sequence[str],
    *,
    concurrency: int | None = None,
    log_level: str = LOG_LEVEL,
    events: bool = False,
) -> list[str]:
    """The argument list of the Celery worker; with ``events`` it tells Flower what it does.

    Raises:
        SettingsError: a queue or the log level is not one of ours.
    """
    for queue in queues:
        if queue not in QUEUES:
            raise SettingsError(f"There is no queue {queue!r}: name some of {', '.join(QUEUES)}.")
    if log_level.upper() not in LOG_LEVELS:
        raise SettingsError(f"--loglevel {log_level}: use one of {', '.join(LOG_LEVELS)}.")
    slots = default_concurrency(queues) if concurrency is None else concurrency
    if slots < 1:
        raise SettingsError(f"--concurrency {slots}: give at least 1.")
    return [
        "worker",
        "--pool=threads",
        f"--concurrency={slots}",
        f"--queues={','.join(queues)}",
        f"--hostname={'+'.join(queues)}@%h-{os.getpid()}",
        f"--loglevel={log_level.upper()}",
        "--without-gossip",
        "--without-mingle",
        *(["--task-events"] if events else []),
    ]


def run_worker(
    queues: Sequence[str],
    *,
    concurrency: int | None = None,
    log_level: str = LOG_LEVEL,
    drain_s: float | None = None,
    metrics_port: int | None = None,
    events: bool = False,
) -> None:
    """Run a worker in this process until it is told to stop.

    Args:
        queues: what it takes jobs from.
        concurrency: tasks at once.
        log_level: of Celery and ours.
        drain_s: how long calls in flight may take once it is told to stop.
        metrics_port: where its metrics are served; None: as the settings say.
        events: whether it sends Celery's events, for Flower.

    Raises:
        SettingsError: an argument is wrong.
    """
    arguments = celery_arguments(
        queues, concurrency=concurrency, log_level=log_level, events=events
    )
    for name, value in _NATIVE_THREADS.items():
        os.environ.setdefault(name, value)
    if drain_s is not None:
        os.environ[DRAIN_VARIABLE] = str(drain_s)
    if metrics_port is not None:
        os.environ["PROMPTYARD_METRICS_PORT"] = str(metrics_port)
    from promptyard_worker.celery_app import app, task_modules  # heavy, so arguments come first

    app.conf.include = task_modules(queues)
    app.worker_main(arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a worker as the command line says; gives the exit code."""
    parser = argparse.ArgumentParser(prog="promptyard_worker.worker")
    parser.add_argument("queues", nargs="+", metavar="QUEUE")
    parser.add_argument("--concurrency", type=int)
    parser.add_argument("--loglevel", default=LOG_LEVEL)
    parser.add_argument("--drain", type=float, metavar="SECONDS")
    parser.add_argument("--metrics-port", type=int)
    parser.add_argument("--events", action="store_true")
    options = parser.parse_args(argv)
    try:
        read_secret_files(os.environ)
        run_worker(
            options.queues,
            concurrency=options.concurrency,
            log_level=options.loglevel,
            drain_s=options.drain,
            metrics_port=options.metrics_port,
            events=options.events,
        )
    except PromptyardError as error:
        sys.stderr.write(f"promptyard worker: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
