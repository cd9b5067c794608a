"""One structured line for every job that ended: why it went where it went, and what came of it.

The lines are JSON (structlog). They hold neither prompt nor answer nor key, unless
``PROMPTYARD_LOG_PROMPTS`` asks for prompts.
"""

from __future__ import annotations

import fcntl
import os
import sys
import threading
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, Protocol

import structlog

from promptyard.errors import SettingsError
from promptyard.store import Call, decisions
from promptyard_worker.observe.ended import Ended

#: A file is put aside at this size, and so many are kept.
FILE_BYTES: Final = 64 * 1024 * 1024
FILES_KEPT: Final = 10
#: Lines of one process that wait for its beat; more than a worker ends in that time.
GATHERED: Final = 10_000


class Sink(Protocol):
    """Where lines go."""

    def __call__(self, line: str) -> None:
        """Write one line of JSON."""


class DecisionLog:
    """Writes a line for every ended job.

    Args:
        sink: where it goes.
        log_prompts: whether prompts stand in it.
    """

    def __init__(self, sink: Sink, *, log_prompts: bool = False) -> None:
        self._sink = sink
        self._log_prompts = log_prompts
        self._render = structlog.processors.JSONRenderer(ensure_ascii=False, sort_keys=False)

    def write(self, job: Ended) -> None:
        """Write the line of a job."""
        entry = line_of(job)
        if self._log_prompts and job.job is not None:
            entry["prompt"] = job.job.text
        rendered = self._render(None, "info", entry)
        self._sink(rendered if isinstance(rendered, str) else rendered.decode())


def line_of(job: Ended) -> dict[str, Any]:
    """The line of a job, before it is text."""
    decision = job.decision
    entry: dict[str, Any] = {
        "event": "job_ended",
        "timestamp": _iso(job.finished_s),
        "job_id": job.job_id,
        "batch_id": job.batch_id,
        "custom_id": job.job.custom_id if job.job else None,
        "state": str(job.state),
        "error": str(job.error) if job.error else None,
        "tier": job.tier,
        "model": job.model,
        "attempts": [
            {
                "model": one.model,
                "seconds": round(one.duration_s, 3),
                "error": str(one.error.type) if one.error else None,
            }
            for one in job.attempts
        ],
        "tokens": job.usage.model_dump(),
        "cost_usd": round(job.cost_usd, 9),
        "seconds": _timings(job),
    }
    if decision is not None:
        entry["decision"] = {
            "stage": decision.stage,
            "route": decision.route,
            "tier": str(decision.tier),
            "model": decision.model,
            "rule": decision.rule,
            "scores": _rounded(decision.scores),
            "probabilities": _rounded(decision.probabilities),
            "margin": None if decision.margin is None else round(decision.margin, 4),
            "difficulty": None if decision.difficulty is None else round(decision.difficulty, 4),
            "thinking_budget": decision.thinking_budget,
            "estimated_cost_usd": decision.estimated_cost_usd,
            "policy_version": decision.policy_version,
        }
    return entry


def _timings(job: Ended) -> dict[str, float | None]:
    """Seconds between the stations."""
    routing_s = None if job.routed_s is None else job.routed_s - job.accepted_s
    return {
        "to_routed": None if routing_s is None else round(max(0.0, routing_s), 3),
        "to_first_call": None if job.waited_s is None else round(job.waited_s, 3),
        "calling": round(sum(one.duration_s for one in job.attempts), 3),
        "total": round(job.latency_s, 3),
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


class StreamSink:
    """Standard output: for whoever collects the output of processes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, line: str) -> None:
        """Write one line."""
        with self._lock:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


class FileSink:
    """A file that is put aside when it is large; all workers of a host may write to one."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock = threading.Lock()

    def __call__(self, line: str) -> None:
        """Append one line."""
        data = (line + "\n").encode()
        with self._lock, self._path.open("ab", buffering=0) as file:
            # two processes that both find it large would put it aside twice
            fcntl.flock(file, fcntl.LOCK_EX)
            if file.tell() + len(data) > FILE_BYTES and _is_at(self._path, file):
                self._put_aside()
            file.write(data)

    def _put_aside(self) -> None:
        """This and the following lines: the last ones of the old file, then a new one."""
        for number in range(FILES_KEPT - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _is_at(path: Path, file: IO[bytes]) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


class StreamKeySink:
    """A capped stream in Redis; lines gather until the worker's next beat."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=GATHERED)

    def __call__(self, line: str) -> None:
        """Keep one line for the beat."""
        self._lines.append(line)

    def beat(self) -> list[Call[str]]:
        """What has gathered."""
        return [decisions.append(self._lines.popleft()) for _ in range(len(self._lines))]


def make_sink(where: str) -> Sink:
    """The sink of a setting: ``stdout``, ``redis``, or the path of a file.

    Raises:
        SettingsError: the file cannot be written.
    """
    if where == "stdout":
        return StreamSink()
    if where == "redis":
        return StreamKeySink()
    try:
        return FileSink(Path(where))
    except OSError as error:
        raise SettingsError(
            f"The decision log {where} cannot be written: {error.strerror}. Set "
            "PROMPTYARD_DECISION_LOG to stdout, redis or a file in a folder you may write."
        ) from error
