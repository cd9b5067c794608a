"""``failed``, ``retry``, and ``run`` after and during a retry; a hand plays the workers."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from promptyard.cli import dead_letters
from promptyard.cli.app import build_app
from promptyard.job import ErrorType, Job, JobError
from promptyard.producer import Producer
from promptyard.store import Store, batches, jobs
from promptyard.store.records import Ending
from tests.conftest import wait_until
from tests.integration.test_cli import call
from tests.integration.test_dead_letters import done_batch, end_as_failed, failed
from tests.integration.test_store import RETENTION_S, claimed, recorded, routed, submitted

HOSTILE = "[bold]red[/bold] \x1b[2J\nnext"


def test_failed_prints_a_table_of_each_batch(
    redis_url: str, producer: Producer, store: Store
) -> None:
    """With what it takes to act; jobs without a batch by their id."""
    batch_id, _ = done_batch(producer, store, 2)
    single = failed(store)
    shown = call(redis_url, "failed").stdout
    assert f"batch {batch_id}" in shown
    assert "2 jobs failed: 2 timeout" in shown
    assert "without a batch" in shown
    assert single in shown
    assert "timeout it was" in call(redis_url, "failed", batch_id).stdout


def test_failed_as_json_is_a_result_a_line(
    redis_url: str, producer: Producer, store: Store
) -> None:
    """As ``results`` prints them."""
    batch_id, ids = done_batch(producer, store, 2)
    lines = call(redis_url, "failed", batch_id, "--json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ids
    assert call(redis_url, "results", batch_id).stdout.splitlines() == lines


def test_no_failed_jobs(redis_url: str, producer: Producer) -> None:
    """Said in words; as JSON, nothing."""
    assert call(redis_url, "failed").stdout == "no failed jobs\n"
    assert call(redis_url, "failed", "--json").stdout == ""
    missing = CliRunner().invoke(build_app(), ["failed", "nothing", "--redis-url", redis_url])
    assert missing.exit_code == 4


def test_a_long_table_is_cut_and_says_so(
    redis_url: str, producer: Producer, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are counted."""
    monkeypatch.setattr(dead_letters, "ROWS", 2)
    batch_id, _ = done_batch(producer, store, 5)
    shown = call(redis_url, "failed", batch_id).stdout
    assert "5 jobs failed: 5 timeout; the first 2 are shown, --json prints all" in shown
    assert shown.count("timeout it") == 2


def test_a_message_is_shown_as_it_is(redis_url: str, store: Store) -> None:
    """On one line, and what a server said moves no cursor."""
    job_id = submitted(store, Job(contents="x"))
    ending = Ending(error=JobError(type=ErrorType.INTERNAL, message=HOSTILE))
    store.do(jobs.reject(job_id, ending, retention_s=RETENTION_S))
    shown = call(redis_url, "failed").stdout
    assert "\x1b" not in shown
    assert "[bold]red[/bold]  [2J next" in shown


def test_retry_puts_back(redis_url: str, producer: Producer, store: Store) -> None:
    """All, or by type and model; as JSON for scripts."""
    batch_id, _ = done_batch(producer, store, 2)
    none = call(redis_url, "retry", batch_id, "--type", "poison", "--json")
    assert json.loads(none.stdout) == {"batch_id": batch_id, "retried": 0}
    arguments = ["retry", batch_id, "--type", "timeout", "--type", "server_error"]
    shown = call(redis_url, *arguments, "--model", "gemini-2.5-flash-lite").stdout
    assert shown == "2 jobs put back\n"
    assert call(redis_url, "failed", batch_id).stdout == "no failed jobs\n"


def test_retry_says_what_there_is(redis_url: str, producer: Producer, store: Store) -> None:
    """A type or model that there is not: one line, exit code 2."""
    batch_id, _ = done_batch(producer, store, 2)
    for option, remark in (("--type", "by type timeout 2"), ("--model", "by model gemini")):
        arguments = ["retry", batch_id, option, "nonsense", "--redis-url", redis_url]
        said = CliRunner().invoke(build_app(), arguments)
        assert said.exit_code == 2
        assert "'nonsense'" in said.stderr
        assert remark in said.stderr


def lines_of(path: Path) -> list[tuple[int, str]]:
    """Line and status of each result."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [(one["line"], one["status"]) for one in found]


class Line:
    """A file that is submitted, and the hand that works on its jobs."""

    def __init__(self, folder: Path, redis_url: str, store: Store) -> None:
        self.file = folder / "in.jsonl"
        self.file.write_text('{"prompt": "a"}\n{"prompt": "b"}\nnonsense\n{"prompt": "c"}\n')
        self.output = folder / "out.jsonl"
        self.batch_id = call(redis_url, "submit", str(self.file)).stdout.strip()
        self.ids = store.do(batches.batch_jobs(self.batch_id, 0, 10))
        self._store = store
        self._url = redis_url
        for job_id in self.ids:
            assert routed(store, job_id) == 1

    def succeed(self, job_id: str) -> None:
        """A worker has its answer."""
        _, token = claimed(self._store, job_id)
        assert recorded(self._store, job_id, token)

    def fail(self, job_id: str) -> None:
        """A worker fails at it."""
        _, token = claimed(self._store, job_id)
        end_as_failed(self._store, job_id, token)

    def run(self) -> dict[str, object]:
        """``promptyard run`` over the file: its summary."""
        arguments = ["run", str(self.file), "-o", str(self.output), "--json"]
        summary: dict[str, object] = json.loads(call(self._url, *arguments).stdout)
        return summary


@pytest.fixture
def line(tmp_path: Path, redis_url: str, store: Store) -> Line:
    """Three jobs and a bad line, submitted and routed."""
    return Line(tmp_path, redis_url, store)


def test_a_run_after_a_retry_has_one_line_a_job(line: Line, producer: Producer) -> None:
    """The same file again: what failed has its new end, the rest is as it was."""
    for job_id in line.ids[:2]:
        line.fail(job_id)
    line.succeed(line.ids[2])
    first = line.run()
    assert first["states"] == {"failed": 2, "succeeded": 1}
    assert producer.retry(line.batch_id) == 2
    line.succeed(line.ids[0])
    line.fail(line.ids[1])
    again = line.run()
    assert (again["submitted"], again["finished"], again["lost"]) == (4, 4, 0)
    assert again["states"] == {"failed": 1, "succeeded": 2}
    assert sorted(lines_of(line.output)) == [
        (1, "succeeded"),
        (2, "failed"),
        (3, "failed"),
        (4, "succeeded"),
    ]


def test_a_retry_during_a_run_leaves_one_line_a_job(
    line: Line, producer: Producer, raw: redis.Redis
) -> None:
    """The failed line is in the output already: it is written anew."""
    line.fail(line.ids[0])

    def waits_for_more() -> bool:
        return any(one["cmd"] == "xread" and "b" in one["flags"] for one in raw.client_list())

    def work() -> None:
        wait_until(waits_for_more, description="the run has written what there is")
        producer.retry(line.batch_id)
        for job_id in line.ids:
            line.succeed(job_id)

    worker = threading.Thread(target=work)
    worker.start()
    summary = line.run()
    worker.join()
    assert (summary["submitted"], summary["finished"], summary["lost"]) == (4, 4, 0)
    assert summary["states"] == {"succeeded": 3}
    written = [(1, "succeeded"), (2, "succeeded"), (3, "failed"), (4, "succeeded")]
    assert sorted(lines_of(line.output)) == written
