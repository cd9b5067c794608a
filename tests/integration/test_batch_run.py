"""A run's two threads: they ride out a Redis that restarts, and report what stops them."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from promptyard import embedded
from promptyard.cli import batch_run
from promptyard.cli.batch_run import BatchRun
from promptyard.cli.submission import file_batch
from promptyard.cli.tally import Tally
from promptyard.embedded import EmbeddedServer
from promptyard.errors import StoreError
from promptyard.formats.results import ResultWriter
from promptyard.producer import Producer
from tests.conftest import wait_until

JOBS = 2000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Good lines, a bad one, and a custom_id that comes twice."""
    path = tmp_path / "in.jsonl"
    lines = [f'{{"prompt": "p{n}", "custom_id": "c{n}"}}\n' for n in range(JOBS)]
    path.write_text("".join([*lines, "nonsense\n", lines[7]]))
    return path


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A port that every server of the test takes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found = int(probe.getsockname()[1])
    monkeypatch.setattr(embedded, "_free_port", lambda: found)
    return found


def crash(server: EmbeddedServer) -> None:
    """SIGKILL, and the locks let go as if the owner had died too."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    server.stop()


def started(producer: Producer, source: Path, writer: ResultWriter) -> BatchRun:
    """A run that has begun."""
    batch_id = file_batch(producer, source, name=source.name, fresh=False)
    run = BatchRun(producer, batch_id, source=source, writer=writer, tally=Tally())
    run.start()
    return run


def test_a_restart_of_redis_is_ridden_out(tmp_path: Path, source: Path, port: int) -> None:
    """Nothing is lost, nothing is counted or reported twice."""
    home = tmp_path / "home"
    server = EmbeddedServer(home)
    server.start()
    with Producer(server.url) as producer, ResultWriter(tmp_path / "out.jsonl") as writer:
        run = started(producer, source, writer)
        crash(server)  # at some moment of the submit
        with EmbeddedServer(home) as again:
            assert again.url == server.url
            wait_until(lambda: run.all_in or run.done, description="all is in")
            producer.cancel(run.batch_id)  # ends the jobs; there are no workers here
            wait_until(lambda: run.done, description="all results are written")
    assert run.tally.lines == writer.count == JOBS + 2
    assert run.tally.results == JOBS
    assert [bad.line for bad in run.tally.bad_lines] == [JOBS + 1, JOBS + 2]


def test_a_redis_that_stays_away_ends_the_run(
    tmp_path: Path, source: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its error, after a while."""
    monkeypatch.setattr(batch_run, "_PATIENCE_S", 0.1)
    server = EmbeddedServer(tmp_path / "home")
    server.start()
    with Producer(server.url) as producer, ResultWriter(tmp_path / "out.jsonl") as writer:
        run = started(producer, source, writer)
        wait_until(lambda: run.all_in, description="all is in")
        crash(server)

        def ended() -> bool:
            try:
                return run.done
            except StoreError:
                return True

        wait_until(ended, description="the run has ended", timeout_s=60)
        with pytest.raises(StoreError, match="Redis at"):
            _ = run.done
        run.abandon()


def test_an_abandoned_run_leaves_its_jobs_in(
    tmp_path: Path, source: Path, producer: Producer
) -> None:
    """It stops submitting and following; the next run goes on."""
    with ResultWriter(tmp_path / "out.jsonl") as writer:
        run = started(producer, source, writer)
        run.abandon()
        again = started(producer, source, writer)
        wait_until(lambda: again.all_in, description="all is in")
        assert producer.status(again.batch_id).total == JOBS
        producer.cancel(again.batch_id)
        wait_until(lambda: again.done, description="the second run is done")
