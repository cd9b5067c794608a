"""The ASGI application: HTTP around the engine. No framework, since each call counts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs

from promptyard_worker.sim.call import JSON, Call, Reply
from promptyard_worker.sim.config import SimConfig
from promptyard_worker.sim.engine import Engine, to_bytes
from promptyard_worker.sim.fault import Fault
from promptyard_worker.sim.refusal import JsonObject, Refusal, bad_key, error_body, no_key, no_model
from promptyard_worker.sim.route import METHODS, Route, describe, read_path

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

#: Key in ``scope["extensions"]`` of ``{"hang_up": function}``, which breaks the connection at
#: once; our server gives it (ASGI itself has no way to hang up).
ABORT: Final = "promptyard.abort"

#: Paths remembered; there are as many as models times methods, unless someone scans.
_MOST_ROUTES: Final = 1_024
_PAGE_SIZE: Final = 50

_NOTHING: Final = "stand-in: nothing at {method} {path}; docs/stand-in.md lists the paths"

log = logging.getLogger("promptyard.sim")


class SimApp:
    """The ASGI callable.

    Args:
        config: how to behave.
        clock: seconds of a steady clock, for the sliding windows.
        now: the time of day, for the quota of a day.
    """

    def __init__(
        self,
        config: SimConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.config = config
        self.engine = Engine(config, clock=clock, now=now)
        self._routes: dict[str, Route | None] = {}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP is left alone."""
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        try:
            route = self._routes[path]
        except KeyError:
            route = self._remember(path)
        if scope["method"] == "POST" and route is not None and route.method in METHODS:
            await self._serve_call(route, scope, receive, send)
        else:
            status, body = self._describe(route, path, scope)
            await _send_json(send, status, body)

    async def _serve_call(self, route: Route, scope: Message, receive: Receive, send: Send) -> None:
        """One call of a model: count it, read it, answer it, count how it ended."""
        engine = self.engine
        query: bytes = scope["query_string"]
        call = engine.open(route, sse=b"alt=sse" in query)
        outcome = "disconnected"
        try:
            body = await _read_body(receive)
            if body is not None:
                key = None if self.config.api_key is None else _key_of(scope, vertex=route.vertex)
                reply = engine.reply(call, body, key)
                outcome = await self._send_reply(reply, scope, receive, send)
                if reply.succeeded and outcome == "200" and call.key is not None:
                    engine.ledger.succeed(call.key)
        except asyncio.CancelledError:
            # The server stops: break the connection, as a crash would, rather than answer.
            await _abort(scope, send)
            outcome = "aborted"
        except Exception:
            log.exception("the stand-in failed", extra={"event": "sim_failed"})
            outcome = "500"
            await _send_json(send, 500, error_body(500, "The stand-in failed; see its log."))
        finally:
            engine.ledger.leave(call.tally, outcome, admitted=call.admitted)
            if self.config.access_log:
                _log_access(call, outcome)

    async def _send_reply(self, reply: Reply, scope: Message, receive: Receive, send: Send) -> str:
        """Wait, then send; how it ended, as the counters name it."""
        if reply.latency_s and await _gone(receive, reply.latency_s):
            return "disconnected"
        if reply.fault is Fault.HANG and await _gone(receive, self.config.hang_s):
            return "disconnected"
        if reply.fault is not None:
            await _abort(scope, send)
            return "aborted"
        if len(reply.chunks) == 1:
            await _send_bytes(send, reply.status, reply.chunks[0], reply.content_type)
            return str(reply.status)
        headers = [(b"content-type", reply.content_type)]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        last = len(reply.chunks) - 1
        for index, chunk in enumerate(reply.chunks):
            if index and reply.pause_s and await _gone(receive, reply.pause_s):
                return "disconnected"
            await send({"type": "http.response.body", "body": chunk, "more_body": index < last})
        return str(reply.status)

    def _describe(self, route: Route | None, path: str, scope: Message) -> tuple[int, JsonObject]:
        """Everything that is not a call of a model."""
        method = scope["method"]
        try:
            if path == "/stats/reset" and method == "POST":
                self.engine.reset()
                return 200, {"reset": True}
            if method in ("GET", "HEAD"):
                if path == "/stats":
                    prompts = b"prompts=1" in scope["query_string"]
                    return 200, self.engine.ledger.snapshot(prompts=prompts)
                if path == "/healthz":
                    return 200, {"status": "ok", "simulated": True}
                if route is not None and route.method is None:
                    return 200, self._describe_models(route, scope)
        except Refusal as refusal:
            return refusal.status, refusal.body
        return 404, error_body(404, _NOTHING.format(method=method, path=path))

    def _describe_models(self, route: Route, scope: Message) -> JsonObject:
        """One model, or a page of the list."""
        expected = self.config.api_key
        if expected is not None and (key := _key_of(scope, vertex=route.vertex)) != expected:
            raise bad_key(vertex=route.vertex) if key else no_key(vertex=route.vertex)
        profiles = self.engine.profiles
        if route.model is not None:
            if route.model not in profiles:
                raise no_model(route.model, route.version, "getModel")
            return describe(profiles[route.model], vertex=route.vertex)
        query = parse_qs(scope["query_string"].decode("latin-1"))
        size, start = _number(query, "pageSize", _PAGE_SIZE), _number(query, "pageToken", 0)
        names = list(profiles)
        page = [describe(profiles[name], vertex=route.vertex) for name in names[start:][:size]]
        body: JsonObject = {"publisherModels" if route.vertex else "models": page}
        if start + size < len(names):
            body["nextPageToken"] = str(start + size)
        return body

    def _remember(self, path: str) -> Route | None:
        if len(self._routes) >= _MOST_ROUTES:
            self._routes.clear()
        route = self._routes[path] = read_path(path)
        return route


async def _read_body(receive: Receive) -> bytes | None:
    """The whole request body, or None if the client hung up before its end."""
    message = await receive()
    if message["type"] != "http.request":
        return None
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body
    pieces = [body]
    while message.get("more_body", False):
        message = await receive()
        if message["type"] != "http.request":
            return None
        pieces.append(message.get("body", b""))
    return b"".join(pieces)


async def _gone(receive: Receive, seconds: float | None) -> bool:
    """Sleep, but wake if the client hangs up; whether it did.

    One timer and no task: after the body, ``receive`` returns only when the client is gone.
    """
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


async def _abort(scope: Message, send: Send) -> None:
    """Break the connection without an answer."""
    extension = scope.get("extensions", {}).get(ABORT)
    if extension is not None:
        extension["hang_up"]()
        return
    # Another server than ours: promise a byte that never comes, so that it must hang up.
    headers = [(b"content-length", b"1")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _send_json(send: Send, status: int, body: JsonObject) -> None:
    await _send_bytes(send, status, to_bytes(body), JSON)


async def _send_bytes(send: Send, status: int, body: bytes, content_type: bytes) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _key_of(scope: Message, *, vertex: bool) -> str | None:
    """The key in ``x-goog-api-key``, in ``?key=``, or on Vertex in the bearer token."""
    for name, value in scope["headers"]:
        if name == b"x-goog-api-key" and value:
            return str(value.decode("latin-1"))
        if vertex and name == b"authorization":
            return str(value.decode("latin-1")).removeprefix("Bearer ").strip() or None
    given = parse_qs(scope["query_string"].decode("latin-1")).get("key")
    return given[0] if given else None


def _number(query: dict[str, list[str]], name: str, default: int) -> int:
    given = query.get(name, [""])[0]
    return int(given) if given.isdecimal() and int(given) > 0 else default


def _log_access(call: Call, outcome: str) -> None:
    """One line a call; neither the prompt nor the query, which may hold the key."""
    key = "-" if call.key is None else call.key.hex()
    model = call.route.model if call.profile else "unknown"
    log.info(
        "%s:%s %s prompt=%s",
        model,
        call.route.method,
        outcome,
        key,
        extra={"event": "sim_call", "model": model, "outcome": outcome},
    )
