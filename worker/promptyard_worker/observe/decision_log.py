"""One structured line for every job that ended: why it went where it went, and what came of it.

The lines are JSON (structlog). They hold neither prompt nor answer nor key, unless
``PROMPTYARD_LOG_PROMPTS`` asks for prompts. A thread writes them: who reads them may be slow, or
stop, and the jobs must not wait for that.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

from promptyard.errors import StoreError

if TYPE_CHECKING:
    from promptyard_worker.observe.ended import Ended
    from promptyard_worker.observe.sinks import Sink

log = logging.getLogger(__name__)

#: Lines that wait to be written, in characters; what comes on top of them is left out.
WAITING_CHARS: Final = 32 * 1024 * 1024
#: Lines gather for so long and are written together.
GATHER_S: Final = 0.1
#: How long a place that refuses is left alone.
RETRY_S: Final = 2.0
#: How long the last lines may take when the worker ends.
CLOSE_S: Final = 5.0

_render: Final = structlog.processors.JSONRenderer(ensure_ascii=False, sort_keys=False)


class DecisionLog:
    """Writes a line for every ended job; safe to use from any thread.

    Args:
        sink: where they go.
        log_prompts: whether prompts stand in them.
    """

    def __init__(self, sink: Sink, *, log_prompts: bool = False) -> None:
        self._sink = sink
        self._log_prompts = log_prompts
        self._waiting: list[str] = []
        self._chars = 0
        self._left_out = 0
        self._turn = threading.Condition()
        self._is_closing = threading.Event()
        self._writer = threading.Thread(target=self._work, name="decision-log", daemon=True)
        self._writer.start()

    def write(self, job: Ended) -> None:
        """Have the line of a job written soon."""
        entry = line_of(job)
        if self._log_prompts and job.job is not None:
            entry["prompt"] = job.job.text
        line = str(_render(None, "info", entry))
        with self._turn:
            if self._chars + len(line) > WAITING_CHARS:
                self._left_out += 1
                return
            self._waiting.append(line)
            self._chars += len(line)
            self._turn.notify()

    def close(self) -> None:
        """Write what waits, if that can be done in a few seconds."""
        self._is_closing.set()
        with self._turn:
            self._turn.notify()
        self._writer.join(CLOSE_S)
        with self._turn:
            if lost := self._left_out + len(self._waiting):
                log.warning("%d lines of the decision log could not be written.", lost)

    def _work(self) -> None:
        is_last = False
        while not is_last:
            with self._turn:
                self._turn.wait_for(lambda: self._waiting or self._is_closing.is_set())
            is_last = self._is_closing.wait(GATHER_S)
            with self._turn:
                lines, self._waiting = self._waiting, []
            if self._is_written(lines):
                with self._turn:
                    self._chars -= sum(map(len, lines))
            else:
                with self._turn:
                    self._waiting = lines + self._waiting

    def _is_written(self, lines: list[str]) -> bool:
        """Write, and try again while that fails; False if the worker ends first."""
        complained = False
        while lines:
            try:
                self._sink.write(lines)
                break
            except (OSError, StoreError) as error:
                if not complained:
                    log.warning("The decision log cannot be written; trying again. %s", error)
                complained = True
                if self._is_closing.wait(RETRY_S):
                    return False
        return True


def line_of(job: Ended) -> dict[str, Any]:
    """The line of a job, before it is text."""
    return {
        "event": "job_ended",
        "timestamp": datetime.fromtimestamp(job.finished_s, UTC).isoformat(timespec="milliseconds"),
        "job_id": job.job_id,
        "batch_id": job.batch_id,
        "custom_id": job.job.custom_id if job.job else None,
        "state": str(job.state),
        "error": str(job.error) if job.error else None,
        "tier": job.tier,
        "model": job.model,
        "decision": _decision(job),
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
        "seconds": {
            "to_routed": _rounded(job.routing_s, 3),
            "to_first_call": _rounded(job.waited_s, 3),
            "calling": round(job.calling_s, 3),
            "total": _rounded(job.latency_s, 3),
        },
    }


def _decision(job: Ended) -> dict[str, Any] | None:
    found = job.decision
    if found is None:
        return None
    return {
        "stage": found.stage,
        "route": found.route,
        "tier": str(found.tier),
        "model": found.model,
        "rule": found.rule,
        "scores": _all_rounded(found.scores),
        "probabilities": _all_rounded(found.probabilities),
        "margin": _rounded(found.margin, 4),
        "difficulty": _rounded(found.difficulty, 4),
        "thinking_budget": found.thinking_budget,
        "estimated_cost_usd": found.estimated_cost_usd,
        "policy_version": found.policy_version,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _all_rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}
