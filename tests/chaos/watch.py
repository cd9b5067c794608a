"""The stand-in with a diary: which worker called for which job, when, and what it got.

Every worker has a base URL of its own, so what was in flight in a worker when it was killed is
known from the server's side, not from what workers or Redis say.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from promptyard_worker.sim.app import Message, Receive, Send, SimApp
from promptyard_worker.sim.config import SimConfig
from promptyard_worker.sim.server import SimServer

#: What the prompt of job 17 holds.
MARK: Final = "(job {number})"
_MARK: Final = re.compile(rb"\(job (\d+)\)")
_PATH: Final = re.compile(r"/(worker-\d+)(/.*)")


@dataclass
class Seen:
    """One call. Times are ``time.monotonic``."""

    worker: str
    arrived_s: float
    #: None: its client went away before the body was read.
    job: int | None = None
    ended_s: float | None = None
    #: None: no answer went out (a played hang, or the client went away).
    status: int | None = None

    def is_open(self, at_s: float) -> bool:
        """Whether it was being answered at that time."""
        return self.arrived_s <= at_s and (self.ended_s is None or self.ended_s > at_s)


class WatchedApp(SimApp):
    """Writes the diary beside the stand-in's own counters."""

    def __init__(self, config: SimConfig) -> None:
        super().__init__(config)
        self.diary: list[Seen] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Take the worker's name off the path; note what happens."""
        found = _PATH.fullmatch(scope.get("path", ""))
        if found is None:
            await super().__call__(scope, receive, send)
            return
        seen = Seen(found[1], time.monotonic())
        self.diary.append(seen)

        async def read() -> Message:
            message = await receive()
            if seen.job is None and (mark := _MARK.search(message.get("body", b""))):
                seen.job = int(mark[1])
            return message

        async def answer(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                seen.status = message["status"]

        try:
            await super().__call__({**scope, "path": found[2]}, read, answer)
        finally:
            seen.ended_s = time.monotonic()


class Watch:
    """The stand-in of a chaos test."""

    def __init__(self, server: SimServer, app: WatchedApp) -> None:
        self.server = server
        self._app = app

    @property
    def diary(self) -> list[Seen]:
        """Every call so far, in the order of arrival."""
        return list(self._app.diary)

    def url(self, worker: str) -> str:
        """The base URL of one worker."""
        return f"{self.server.url}/{worker}"


@contextmanager
def watched(config: SimConfig) -> Iterator[Watch]:
    """Serve a stand-in with a diary."""
    server = SimServer(config)
    server.app = app = WatchedApp(config)
    with server:
        yield Watch(server, app)
