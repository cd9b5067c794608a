"""The stand-in over HTTP: uvicorn, on loopback unless told otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, Final, Self

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from promptyard.errors import StackError
from promptyard_worker.sim.app import ABORT, SimApp
from promptyard_worker.sim.config import SimConfig

#: Longer than any client keeps a connection: it, not we, closes idle ones. uvicorn's 5 s
#: makes clients meet connections that close under them.
KEEP_ALIVE_S: Final = 600
#: Connections waiting to be accepted.
_BACKLOG: Final = 2_048
_START_TIMEOUT_S: Final = 10.0

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class _SimProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a way for the application to hang up."""

    def on_message_begin(self) -> None:
        """Add the extension to the scope of each request."""
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"hang_up": self.transport.abort}}


class _Server(uvicorn.Server):
    """uvicorn's server: it reports its port, and stops cleanly at a signal."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Report once connections are accepted."""
        await super().startup(sockets)
        self._on_start()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGINT and SIGTERM, and return; uvicorn would raise the signal again."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Stop at the next tick (0.1 s)."""
        self.should_exit = True


def serve(
    config: SimConfig,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    ready: Callable[[int], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; calls in flight are broken off then.

    Args:
        config: how to behave.
        host: address to bind; anything but loopback is reachable from outside.
        port: TCP port; 0 takes a free one.
        ready: called with the port once connections are accepted.

    Raises:
        StackError: the address is in use, or not one of this machine.
    """
    listener = _bind(host, port)
    bound_port: int = listener.getsockname()[1]
    server = _make_server(SimApp(config), lambda: ready(bound_port) if ready else None)
    server.run(sockets=[listener])


class SimServer:
    """The stand-in in a thread of this process, for tests and rehearsals.

    >>> with SimServer(SimConfig(latency_scale=0)) as sim:
    ...     sim.stats()["calls"]
    0
    """

    def __init__(self, config: SimConfig | None = None, *, port: int = 0) -> None:
        self.app = SimApp(config or SimConfig())
        self._port = port
        self._thread: threading.Thread | None = None
        self._server: _Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def port(self) -> int:
        """The TCP port, once entered."""
        return self._port

    @property
    def url(self) -> str:
        """The base URL, as ``GOOGLE_GEMINI_BASE_URL`` takes it."""
        return f"http://127.0.0.1:{self._port}"

    def stats(self, *, prompts: bool = False) -> dict[str, Any]:
        """The counters, as ``GET /stats`` gives them; ``prompts`` adds ``by_prompt``."""
        found: dict[str, Any] = self._in_loop(
            lambda: self.app.engine.ledger.snapshot(prompts=prompts)
        )
        return found

    def reset(self) -> None:
        """Start all counters anew."""
        self._in_loop(self.app.engine.reset)

    def __enter__(self) -> Self:
        listener = _bind("127.0.0.1", self._port)
        self._port = listener.getsockname()[1]
        started = threading.Event()
        server = self._server = _make_server(self.app, started.set)
        self._thread = threading.Thread(
            target=self._run, args=(server, listener), name="promptyard-sim", daemon=True
        )
        self._thread.start()
        if not started.wait(_START_TIMEOUT_S):
            raise StackError(f"the stand-in did not start within {_START_TIMEOUT_S:g} s")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(_START_TIMEOUT_S)
        self._server = self._thread = self._loop = None

    def _run(self, server: _Server, listener: socket.socket) -> None:
        async def run() -> None:
            self._loop = asyncio.get_running_loop()
            await server.serve(sockets=[listener])

        asyncio.run(run())

    def _in_loop(self, task: Callable[[], Any]) -> Any:
        """Run in the server's thread, since the counters belong to its event loop."""
        if self._loop is None:
            return task()

        async def run() -> Any:
            return task()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(_START_TIMEOUT_S)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it head and body, sent
    # one after the other, wait for each other's ACK: 40 ms a call.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StackError(
            f"the stand-in cannot listen on {host}:{port} ({error.strerror}); "
            "another --port may be free"
        ) from error
    return listener


def _make_server(app: SimApp, on_start: Callable[[], None]) -> _Server:
    config = uvicorn.Config(
        app,
        http=_SimProtocol,
        interface="asgi3",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        # Its complaints about broken connections are what faults are for; failures of
        # the application are logged by the application.
        log_level="critical",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=0,
    )
    return _Server(config, on_start)
