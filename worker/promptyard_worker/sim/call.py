"""One call on its way through the stand-in, and the reply it gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from promptyard_worker.sim.fault import Fault
from promptyard_worker.sim.ledger import ModelTally
from promptyard_worker.sim.profile import ModelProfile
from promptyard_worker.sim.route import Route

JSON: Final = b"application/json; charset=UTF-8"
EVENT_STREAM: Final = b"text/event-stream"


@dataclass(slots=True)
class Call:
    """One call; the engine notes on it what the counters need at its end.

    Attributes:
        route: what its path means.
        profile: its model; None if there is no such model or method.
        tally: where it is counted.
        sse: ``?alt=sse``.
        admitted: it passed the quota.
        key: its prompt's name in the counters, once its body is read.
    """

    route: Route
    profile: ModelProfile | None
    tally: ModelTally
    sse: bool = False
    admitted: bool = False
    key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back.

    Attributes:
        status: HTTP status.
        chunks: the body; several where it is streamed.
        latency_s: time before the first chunk.
        pause_s: time before each further chunk.
        content_type: of the body.
        succeeded: a whole and usable answer of the prompt.
        fault: HANG or DISCONNECT in place of an answer.
    """

    status: int
    chunks: tuple[bytes, ...] = (b"",)
    latency_s: float = 0.0
    pause_s: float = 0.0
    content_type: bytes = JSON
    succeeded: bool = False
    fault: Fault | None = None
