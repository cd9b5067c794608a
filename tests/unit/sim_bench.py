"""An engine of the stand-in on a bench: calls in, replies out, clocks set by hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from promptyard_worker.sim.call import Reply
from promptyard_worker.sim.config import SimConfig
from promptyard_worker.sim.engine import Engine
from promptyard_worker.sim.route import read_path

FLASH, LITE, PRO = "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-pro"


class Bench:
    """An engine, with clocks set by hand."""

    def __init__(self, **settings: Any) -> None:
        self.seconds = 1_000.0
        self.time = datetime(2026, 10, 5, 12, tzinfo=UTC)
        config = SimConfig.model_validate({"latency_scale": 0, **settings})
        self.engine = Engine(config, clock=lambda: self.seconds, now=lambda: self.time)

    def post(self, path: str, body: Any, *, key: str | None = None, leave: bool = True) -> Reply:
        """One call; it stays in flight without ``leave``."""
        route = read_path(path)
        assert route is not None
        call = self.engine.open(route, sse=False)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        reply = self.engine.reply(call, data, key)
        if leave:
            self.engine.ledger.leave(call.tally, str(reply.status), admitted=call.admitted)
        if reply.succeeded and call.key is not None:
            self.engine.ledger.succeed(call.key)
        return reply

    def ask(self, text: str, model: str = LITE, **body: Any) -> tuple[int, dict[str, Any]]:
        """Status and body of one generateContent."""
        contents = [{"role": "user", "parts": [{"text": text}]}]
        path = f"/v1beta/models/{model}:generateContent"
        reply = self.post(path, {"contents": contents, **body})
        return reply.status, json.loads(reply.chunks[0])


def text_of(body: dict[str, Any]) -> str:
    """The text of an answer."""
    text = body["candidates"][0]["content"]["parts"][0]["text"]
    assert isinstance(text, str)
    return text
