"""``promptyard top`` on a real store: one frame, and live in a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from contextlib import closing, suppress
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from promptyard.cli.app import build_app
from promptyard.embedded import EmbeddedServer
from promptyard.job import Job
from promptyard.names import Tier
from promptyard.producer import Producer
from promptyard.settings import Settings
from promptyard.store import Store, breakers, fleet
from promptyard_worker import cli
from promptyard_worker.top.command import top
from promptyard_worker.top.look import take_look
from tests.conftest import wait_until
from tests.integration.test_store import in_hand
from tests.report_results import CATALOG, FLASH

#: Takes the terminal for its own, so that ctrl-C reaches it.
PROGRAM = """
import fcntl, sys, termios
from promptyard_worker.top.command import top
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
top(redis_url=sys.argv[1])
"""


def app() -> typer.Typer:
    """With the worker's commands, installed or only on the path."""
    made = build_app()
    if not any(one.callback is top for one in made.registered_commands):
        cli.register(made)
    return made


def say(*arguments: str) -> Result:
    """Run the command on a terminal of 80 columns."""
    return CliRunner().invoke(app(), ["top", *arguments], env={"COLUMNS": "80"})


class Terminal:
    """The command in a terminal of its own."""

    def __init__(self, url: str) -> None:
        self.text = ""
        self._fd, inner = pty.openpty()
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
        os.set_blocking(self._fd, False)
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, url],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env={**os.environ, "TERM": "xterm"},
            start_new_session=True,
        )
        os.close(inner)

    def shows(self, text: str) -> bool:
        """Whether it has shown a text by now."""
        with suppress(OSError):  # nothing new, or it has ended
            self.text += os.read(self._fd, 1 << 20).decode(errors="replace")
        return text in self.text

    def press(self, key: bytes) -> None:
        """Press a key."""
        os.write(self._fd, key)

    def ended(self) -> bool:
        """Whether it has ended, well."""
        self.shows("")  # a full pipe would hold it up
        return self._process.poll() == 0

    def close(self) -> None:
        """Leave nothing behind."""
        self._process.kill()
        self._process.wait()
        os.close(self._fd)


def test_a_look_counts_jobs_not_messages(producer: Producer, store: Store) -> None:
    """A classify message has up to 64 of them; one in a worker's hands does not wait."""
    producer.submit_batch([Job(contents=f"a {n}") for n in range(70)])
    producer.submit_batch([Job(contents="b", tier=Tier.PRO, priority=9)])
    in_hand(store)
    seen = take_look(producer, store)
    waiting = {queue.name: queue.waiting for queue in seen.queues}
    assert waiting == {"classify": 70, "pro": 1, "flash": 0, "lite": 0}
    assert seen.queues[1].oldest_s is not None
    assert seen.queues[2].oldest_s is None
    assert seen.in_flight == 1
    assert len(seen.batches) == 2


def test_once_prints_a_frame(redis_url: str, producer: Producer, store: Store) -> None:
    """For scripts; what holds a model up is in it."""
    store.do(fleet.put_catalog(CATALOG, retention_s=Settings().retention_s))
    store.do(breakers.trip([FLASH], reason="failures", for_s=60))
    producer.submit_batch([Job(contents="x", tier=Tier.LITE)], batch_id="mine")
    said = say("--once", "--redis-url", redis_url)
    assert said.exit_code == 0, said.output
    assert "0/0 slots busy" in said.stdout
    assert "mine" in said.stdout
    assert f"{FLASH}: its calls fail since" in said.stdout
    assert max(map(len, said.stdout.splitlines())) <= 80


def test_where_stdout_is_no_terminal_one_frame_is_all(redis_url: str) -> None:
    """A pipe would never end."""
    assert "slots busy" in say("--redis-url", redis_url).stdout


def test_a_redis_that_is_away_is_one_line(tmp_path: Path) -> None:
    """As with every command."""
    with EmbeddedServer(tmp_path, persist=False) as server:
        url = server.url
    said = say("--once", "--redis-url", url)
    assert said.exit_code == 3
    assert said.stderr.count("\n") == 1


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_it_lives_until_q_or_ctrl_c(redis_url: str, key: bytes) -> None:
    """Redrawn meanwhile; the screen is as it was afterwards."""
    with closing(Terminal(redis_url)) as terminal:
        wait_until(lambda: terminal.shows("jobs/s"), description="a first frame")
        frames = terminal.text.count("slots busy")
        wait_until(
            lambda: terminal.shows("") and terminal.text.count("slots busy") > frames + 1,
            description="more frames",
        )
        assert "0.0 jobs/s" in terminal.text
        terminal.press(key)
        wait_until(terminal.ended, description="the end")
        assert terminal.text.rstrip().endswith("\x1b[?1049l"), "back on the screen before"


def test_a_redis_that_goes_away_meanwhile_is_said(tmp_path: Path) -> None:
    """The last frame stays, until it is there again or somebody has seen enough."""
    with EmbeddedServer(tmp_path, persist=False) as server:
        terminal = Terminal(server.url)
        with closing(terminal):
            wait_until(lambda: terminal.shows("jobs/s"), description="a first frame")
            server.stop()
            wait_until(lambda: terminal.shows("as it was"), description="the remark")
            terminal.press(b"q")
            wait_until(terminal.ended, description="the end")
