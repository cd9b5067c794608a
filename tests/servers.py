"""Redis and Valkey servers with options of the test's own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from promptyard.child import spawn
from tests.conftest import wait_until


def free_port() -> int:
    """A port nobody has right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(program: str, url: str, folder: Path, options: dict[str, str]) -> Iterator[None]:
    """A server with these options, once it answers at the URL."""
    options = {"bind": "127.0.0.1", "dir": str(folder), "save": "", **options}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    child = spawn("server", [program, *words], log=folder / "server.log")

    def answers() -> bool:
        assert child.poll() is None, child.tail()
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False

    try:
        with redis.Redis.from_url(url) as client:
            wait_until(answers, description=f"{program} answers")
        yield
    finally:
        child.stop(5)
