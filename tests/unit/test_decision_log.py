"""The decision log: its lines, its writer, its sinks."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from promptyard.errors import SettingsError
from promptyard.job import Attempt, Decision, ErrorType, Job, JobError, JobState, Usage
from promptyard.names import Tier
from promptyard_worker.observe import decision_log
from promptyard_worker.observe.decision_log import DecisionLog, line_of
from promptyard_worker.observe.ended import Ended
from promptyard_worker.observe.sinks import RotatingFile, StandardOutput, make_sink
from tests.conftest import wait_until

START: Final = datetime(2026, 11, 23, 12, 0, 2, tzinfo=UTC)
START_S: Final = START.timestamp()
FULL: Final = Ended(
    job_id="j1",
    batch_id="b1",
    state=JobState.SUCCEEDED,
    tier="flash",
    model="gemini-2.5-flash",
    job=Job(contents="a marked prompt", custom_id="ticket\n17"),
    decision=Decision(
        stage="semantic",
        route="code",
        tier=Tier.PRO,
        model="gemini-2.5-pro",
        scores={"code": 0.812345, "chat": 0.4},
        margin=0.41234567,
        estimated_cost_usd=0.01,
        policy_version="abc",
    ),
    attempts=[
        Attempt(
            model="gemini-2.5-pro",
            started=START,
            duration_s=0.5,
            error=JobError(type=ErrorType.SERVER_ERROR, message="a marked message"),
        ),
        Attempt(
            model="gemini-2.5-flash",
            started=START,
            duration_s=1.25,
            usage=Usage(prompt_tokens=10, output_tokens=3),
            cost_usd=0.002,
        ),
    ],
    accepted_s=START_S - 2,
    routed_s=START_S - 1.5,
    finished_s=START_S + 3,
)
BARE: Final = Ended(job_id="j2", state=JobState.EXPIRED, finished_s=START_S)


class Shelf:
    """A sink that keeps what it is given, unless it is broken."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.broken = False
        self.tries = 0

    def write(self, lines: Sequence[str]) -> None:
        """Keep them."""
        self.tries += 1
        if self.broken:
            raise OSError("no room")
        self.lines += lines


def ended(number: int) -> Ended:
    """A job of that number."""
    return Ended(job_id=str(number), state=JobState.SUCCEEDED, finished_s=START_S)


def ids(lines: Sequence[str]) -> list[str]:
    """Their jobs."""
    return [json.loads(line)["job_id"] for line in lines]


def test_a_line_says_all_that_is_known() -> None:
    """Ids, decision, attempts, tokens, costs estimated and real, timings."""
    assert line_of(FULL) == {
        "event": "job_ended",
        "timestamp": "2026-11-23T12:00:05.000+00:00",
        "job_id": "j1",
        "batch_id": "b1",
        "custom_id": "ticket\n17",
        "state": "succeeded",
        "error": None,
        "tier": "flash",
        "model": "gemini-2.5-flash",
        "decision": {
            "stage": "semantic",
            "route": "code",
            "tier": "pro",
            "model": "gemini-2.5-pro",
            "rule": None,
            "scores": {"code": 0.8123, "chat": 0.4},
            "probabilities": {},
            "margin": 0.4123,
            "difficulty": None,
            "thinking_budget": None,
            "estimated_cost_usd": 0.01,
            "policy_version": "abc",
        },
        "attempts": [
            {"model": "gemini-2.5-pro", "seconds": 0.5, "error": "server_error"},
            {"model": "gemini-2.5-flash", "seconds": 1.25, "error": None},
        ],
        "tokens": Usage(prompt_tokens=10, output_tokens=3).model_dump(),
        "cost_usd": 0.002,
        "seconds": {"to_routed": 0.5, "to_first_call": 1.5, "calling": 1.75, "total": 5.0},
    }


def test_a_job_without_a_call_has_a_line_with_the_same_keys() -> None:
    """What is not known is null."""
    bare = line_of(BARE)
    assert bare.keys() == line_of(FULL).keys()
    seconds = {"to_routed": None, "to_first_call": None, "calling": 0, "total": None}
    assert bare["seconds"] == seconds
    assert (bare["decision"], bare["attempts"], bare["cost_usd"]) == (None, [], 0)


@pytest.mark.parametrize("log_prompts", [False, True])
def test_prompts_are_in_it_only_if_asked_for(log_prompts: bool) -> None:
    """Messages of errors, which may quote them, never are. One line is one line."""
    shelf = Shelf()
    log = DecisionLog(shelf, log_prompts=log_prompts)
    log.write(FULL)
    log.write(BARE)
    log.close()
    full, bare = shelf.lines
    assert "\n" not in full
    assert "a marked message" not in full
    assert ("a marked prompt" in full) is log_prompts
    assert ("prompt" in json.loads(full)) is log_prompts
    assert "prompt" not in json.loads(bare)


def test_closing_writes_what_waits() -> None:
    """Of all threads, and in order of each."""
    shelf = Shelf()
    log = DecisionLog(shelf)

    def work(first: int) -> None:
        for number in range(first, first + 100):
            log.write(ended(number))

    threads = [threading.Thread(target=work, args=[first]) for first in range(0, 400, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    written = ids(shelf.lines)
    assert sorted(map(int, written)) == list(range(400))
    assert [n for n in written if len(n) == 3 and n[0] == "2"] == [str(n) for n in range(200, 300)]


def test_a_sink_that_fails_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is lost, and it is said once."""
    monkeypatch.setattr(decision_log, "RETRY_S", 0.01)
    monkeypatch.setattr(decision_log, "GATHER_S", 0.01)
    shelf = Shelf()
    shelf.broken = True
    log = DecisionLog(shelf)
    log.write(ended(1))
    wait_until(lambda: shelf.tries > 2, description="it is tried again")
    log.write(ended(2))
    shelf.broken = False
    wait_until(lambda: ids(shelf.lines) == ["1", "2"], description="both are written")
    log.close()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "no room" in caplog.text


def test_what_cannot_be_written_in_the_end_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """A worker that ends does not wait for it."""
    shelf = Shelf()
    shelf.broken = True
    log = DecisionLog(shelf)
    for number in range(3):
        log.write(ended(number))
    log.close()
    assert "3 lines of the decision log could not be written." in caplog.messages


def test_lines_that_nobody_takes_are_left_out_in_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The memory of a worker is for jobs."""
    monkeypatch.setattr(decision_log, "WAITING_CHARS", 5_000)
    shelf = Shelf()
    shelf.broken = True
    log = DecisionLog(shelf)
    for number in range(1_000):
        log.write(ended(number))
    log.close()
    assert "1000 lines of the decision log could not be written." in caplog.messages


def test_a_reader_who_stops_holds_up_nobody() -> None:
    """Lines wait while the pipe is full, and go on when it is read again."""
    reader, writer = os.pipe()
    log = DecisionLog(StandardOutput(writer))
    for number in range(1_000):
        log.write(ended(number))  # more than a pipe holds
    with os.fdopen(reader, "rb") as pipe:
        lines = [pipe.readline().decode() for _ in range(1_000)]
    log.close()
    os.close(writer)
    assert ids(lines) == [str(number) for number in range(1_000)]


def test_a_file_that_is_large_is_put_aside(tmp_path: Path) -> None:
    """The newest are in the file itself, older ones in .1, .2; the oldest go."""
    path = tmp_path / "logs" / "log"
    sink = RotatingFile(path, limit_bytes=10, kept=2)
    for lines in (["one", "two.."], ["three"], ["four", "five"], ["six", "seven"], ["eight"]):
        sink.write(lines)
    found = {file.name: file.read_text().split() for file in path.parent.iterdir()}
    assert found == {
        "log.2": ["three", "four", "five"],
        "log.1": ["six", "seven"],
        "log": ["eight"],
    }


WRITER: Final = """
import sys
from pathlib import Path
from promptyard_worker.observe.sinks import RotatingFile
sink = RotatingFile(Path(sys.argv[1]), limit_bytes=2_000, kept=10_000)
for number in range(2_000):
    sink.write([f"{sys.argv[2]}-{number:04}-{'x' * 40}"])
"""


def test_two_processes_put_one_file_aside_and_lose_nothing(tmp_path: Path) -> None:
    """Every line of both is there once, whole, through a hundred rotations."""
    path = tmp_path / "decisions.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in ("a", "b")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    files = list(tmp_path.iterdir())
    found = [line for file in files for line in file.read_text().splitlines()]
    assert sorted(found) == [f"{name}-{n:04}-{'x' * 40}" for name in "ab" for n in range(2_000)]
    assert len(files) > 50
    assert max(file.stat().st_size for file in files) < 2_100


def test_a_file_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    """Not with the first job."""
    (tmp_path / "file").write_text("")
    store: Any = None
    for path in (tmp_path, tmp_path / "file" / "below"):
        with pytest.raises(SettingsError, match="PROMPTYARD_DECISION_LOG"):
            make_sink(str(path), store)
