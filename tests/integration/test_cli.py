"""The producer's commands on a real Valkey, without workers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from promptyard.cli.app import build_app
from promptyard.job import JobState
from promptyard.producer import Producer

LINES = (
    '{"prompt": "a", "custom_id": "x"}\n'
    '{"prompt": "b"}\n'
    "nonsense\n"
    "\n"
    '{"prompt": "c", "custom_id": "x"}\n'
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two good lines, one that is not JSON, one that repeats a custom_id."""
    path = tmp_path / "in.jsonl"
    path.write_text(LINES)
    return path


def call(redis_url: str, *arguments: str) -> Result:
    """Run a command that must succeed."""
    result = CliRunner().invoke(build_app(), [*arguments, "--redis-url", redis_url])
    assert result.exit_code == 0, result.output
    return result


def test_submit_reports_bad_lines_and_is_idempotent(redis_url: str, file: Path) -> None:
    """The same file again is the same batch and adds nothing; --fresh is another batch."""
    first = json.loads(call(redis_url, "submit", str(file), "--json").stdout)
    assert (first["submitted"], first["existing"], first["bad"]) == (2, 0, 2)
    messages = {bad["line"]: bad["message"] for bad in first["bad_lines"]}
    assert "not JSON" in messages[3]
    assert "repeats the custom_id 'x' of line 1" in messages[5]

    again = json.loads(call(redis_url, "submit", str(file), "--json").stdout)
    assert (again["batch_id"], again["submitted"], again["bad"]) == (first["batch_id"], 0, 2)

    fresh = json.loads(call(redis_url, "submit", str(file), "--json", "--fresh").stdout)
    assert fresh["batch_id"] != first["batch_id"]
    assert fresh["submitted"] == 2


def test_status_of_one_and_of_all(redis_url: str, file: Path) -> None:
    """As JSON for scripts, as a table for people."""
    batch_id = call(redis_url, "submit", str(file)).stdout.strip()
    one = json.loads(call(redis_url, "status", batch_id, "--json").stdout)
    assert (one["id"], one["total"], one["metadata"]["source"]) == (batch_id, 2, "in.jsonl")
    every = json.loads(call(redis_url, "status", "--json").stdout)
    assert [batch["id"] for batch in every["batches"]] == [batch_id]
    assert "in.jsonl" in call(redis_url, "status", batch_id).stdout
    assert "in.jsonl" in call(redis_url, "status").stdout


def test_cancel_follow_and_results(redis_url: str, file: Path, tmp_path: Path) -> None:
    """Cancelled jobs are results too: followed to the end, and written to a file."""
    batch_id = call(redis_url, "submit", str(file)).stdout.strip()
    assert json.loads(call(redis_url, "cancel", batch_id, "--json").stdout)["cancelled"] == 2

    followed = [
        json.loads(line) for line in call(redis_url, "follow", batch_id).stdout.splitlines()
    ]
    assert {one["custom_id"] for one in followed} == {"x", "2"}
    assert {one["status"] for one in followed} == {JobState.CANCELLED}

    output = tmp_path / "out.jsonl"
    call(redis_url, "results", batch_id, "-o", str(output))
    assert sorted(output.read_text().splitlines()) == sorted(
        call(redis_url, "results", batch_id).stdout.splitlines()
    )


def test_a_run_of_a_batch_that_has_ended_needs_no_worker(
    redis_url: str, file: Path, tmp_path: Path, producer: Producer
) -> None:
    """Every input line has its output line, the bad ones as failed; nothing is called."""
    batch_id = call(redis_url, "submit", str(file)).stdout.strip()
    producer.cancel(batch_id)
    output = tmp_path / "out.jsonl"
    summary = json.loads(call(redis_url, "run", str(file), "-o", str(output), "--json").stdout)
    assert (summary["submitted"], summary["finished"], summary["lost"]) == (4, 4, 0)
    assert (summary["bad"], summary["states"]) == (2, {"cancelled": 2})
    assert summary["continued"]
    written = {one["line"]: one for one in map(json.loads, output.read_text().splitlines())}
    assert sorted(written) == [1, 2, 3, 5]
    assert written[5]["custom_id"] == "x"
    assert written[5]["error"]["type"] == "invalid_input"
    assert written[5]["error"]["message"].startswith("line 5: repeats")


def test_a_run_says_what_it_came_to(
    redis_url: str, file: Path, tmp_path: Path, producer: Producer
) -> None:
    """The last line of the report is the verdict."""
    producer.cancel(call(redis_url, "submit", str(file)).stdout.strip())
    said = call(redis_url, "run", str(file), "-o", str(tmp_path / "out.jsonl"))
    lines = said.stdout.splitlines()
    assert lines[-1] == "4 submitted, 4 finished, 0 lost"
    assert any("2 cancelled, 2 bad lines" in line for line in lines)
    assert any(line.strip().startswith("line 3: not JSON") for line in lines)
    assert "continuing batch" in said.stderr


def test_an_empty_file_is_a_run_of_nothing(redis_url: str, tmp_path: Path) -> None:
    """No lines, no jobs, no loss."""
    file = tmp_path / "empty.jsonl"
    file.write_text("")
    output = tmp_path / "out.jsonl"
    summary = json.loads(call(redis_url, "run", str(file), "-o", str(output), "--json").stdout)
    assert (summary["submitted"], summary["lost"]) == (0, 0)
    assert output.read_text() == ""


def test_doctor_on_a_server(redis_url: str) -> None:
    """The test's server keeps nothing, and nobody works: warnings, no failure."""
    findings = json.loads(call(redis_url, "doctor", "--json").stdout)
    verdicts = {finding["subject"]: finding["verdict"] for finding in findings}
    assert verdicts["redis"] == verdicts["eviction"] == "ok"
    assert verdicts["persistence"] == verdicts["queue pro"] == "warn"
