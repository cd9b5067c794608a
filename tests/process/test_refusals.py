"""Messages that are not ours: they run nothing, block nobody, end no worker; they are counted."""

from __future__ import annotations

import json
import os
import pickle
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from promptyard.child import Child
from promptyard.embedded import EmbeddedServer
from promptyard.job import Job
from promptyard.names import GENERATE_TASK, Tier
from promptyard.store import messages
from promptyard_worker.sim.server import SimServer
from tests.process.conftest import Yard, checked
from tests.servers import free_port
from tests.web import scrape

pytestmark = pytest.mark.process

METRIC: Final = "promptyard_messages_refused_total"
QUESTION: Final = Job(contents="Are you there?", tier=Tier.LITE)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """What is there once a pickle has been read."""
    return tmp_path / "trap"


@pytest.fixture
def yard(tmp_path: Path, sim: SimServer) -> Iterator[Yard]:
    """A yard whose log may hold tracebacks of Celery's."""
    with EmbeddedServer(tmp_path, persist=False) as server:
        made = Yard(tmp_path, server.url, sim)
        with checked(made, unruffled=False):
            yield made


@pytest.fixture
def metrics_port() -> int:
    """Where the worker tells of itself."""
    return free_port()


@pytest.fixture
def worker(yard: Yard, metrics_port: int) -> Child:
    """One that takes the jobs of lite."""
    return yard.start("lite", flags=["--metrics-port", str(metrics_port)])


def foreign_messages(trap: Path) -> list[bytes]:
    """Pickles, a task of somebody else, and what no worker would survive."""
    envelope = json.loads(messages.generate_message("x", tier="lite", priority=5))
    pickled = b64encode(pickle.dumps(([Trap(trap)], {}, {}))).decode()
    number = b64encode(b"17").decode()
    kind = {"content-type": "application/x-python-serialize", "content-encoding": "binary"}
    found = [
        {**envelope, **kind, "body": pickled},
        {**envelope, **kind, "body": pickled, "headers": {}},
        {**envelope, "headers": {**envelope["headers"], "task": "somebody.elses"}},
        {**envelope, "body": number},
        {**envelope, "properties": {}},
        [GENERATE_TASK],
    ]
    return [*(json.dumps(one).encode() for one in found), b"rubbish", b"\xff\x00"]


def test_what_is_not_ours_is_refused_and_counted(
    yard: Yard, worker: Child, metrics_port: int, trap: Path
) -> None:
    """The log says so, and not what was in it; the job behind them is done."""
    yard.raw.lpush("lite", *foreign_messages(trap))
    assert yard.run_one(QUESTION).ok
    found = scrape(f"http://127.0.0.1:{metrics_port}/metrics", "queue", "reason")
    assert {key[2]: count for key, count in found.items() if key[:2] == (METRIC, "lite")} == {
        "content_type": 2,
        "task": 1,
        "malformed": 5,
    }
    said = worker.log.read_text()
    assert said.count("is refused, and gone") == 8
    assert "rubbish" not in said
    assert "Traceback" not in said
    assert (worker.poll(), trap.exists()) == (None, False)


def test_a_message_of_ours_that_celery_finds_fault_with_is_counted_too(
    yard: Yard, worker: Child, metrics_port: int
) -> None:
    """Its own checks go further than ours."""
    envelope = json.loads(messages.generate_message("x", tier="lite", priority=5))
    envelope["headers"]["eta"] = "tomorrow or so"
    yard.raw.lpush("lite", json.dumps(envelope))
    assert yard.run_one(QUESTION).ok
    found = scrape(f"http://127.0.0.1:{metrics_port}/metrics", "queue", "reason")
    assert found[METRIC, "lite", "malformed"] == 1
    assert worker.poll() is None


def test_orders_in_other_languages_than_json_are_refused(
    yard: Yard, worker: Child, trap: Path
) -> None:
    """Celery's remote control takes pickle no more than the queues do."""
    envelope = json.loads(messages.generate_message("x", tier="lite", priority=5))
    kind = {"content-type": "application/x-python-serialize", "content-encoding": "binary"}
    body = b64encode(pickle.dumps({"method": "ping", "arguments": {"x": Trap(trap)}})).decode()
    assert yard.raw.publish("/0.celery.pidbox", json.dumps({**envelope, **kind, "body": body})) == 1
    assert yard.run_one(QUESTION).ok
    assert (worker.poll(), trap.exists()) == (None, False)
