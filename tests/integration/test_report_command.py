"""``promptyard report``: of a result file, and of a batch in a real store."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from promptyard.cli.app import build_app
from promptyard.formats.results import encode_result
from promptyard.job import ErrorType, Job, JobError, JobResult
from promptyard.producer import Producer
from promptyard.settings import Settings
from promptyard.store import Store, batches, fleet, jobs
from promptyard.store.records import Ending
from promptyard_worker import cli
from promptyard_worker.report.command import leave_report, report
from tests.integration.test_store import RETENTION_S, claimed, recorded, routed, submitted
from tests.report_results import CATALOG, call, result

MARKED = "a marked prompt <b>"


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder without results, and an environment without a Redis."""
    monkeypatch.chdir(tmp_path)
    for name in ("REDIS_URL", "PROMPTYARD_ROUTER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PROMPTYARD_HOME", str(tmp_path / "home"))


def app() -> typer.Typer:
    """With the worker's commands, installed or only on the path."""
    made = build_app()
    if not any(one.callback is report for one in made.registered_commands):
        cli.register(made)
    return made


def say(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(app(), ["report", *arguments], env={"COLUMNS": "200"})


def page_of(*arguments: str) -> str:
    """Run the command, which must succeed; gives the page it wrote."""
    said = say(*arguments)
    assert said.exit_code == 0, said.output
    assert said.stderr.startswith("report: report.html (")
    return Path("report.html").read_text()


def write_results(name: str, *results: JobResult) -> Path:
    """A result file."""
    path = Path(name)
    path.write_bytes(b"".join(map(encode_result, results)))
    return path


def batch(producer: Producer, store: Store, *, done: int = 2, open_jobs: int = 0) -> str:
    """A batch with jobs that have an answer, and others that wait."""
    store.do(fleet.put_catalog(CATALOG, retention_s=Settings().retention_s))
    batch_id = producer.open_batch()
    for _ in range(done):
        job_id = submitted(store, Job(contents=MARKED), batch_id)
        routed(store, job_id)
        _, token = claimed(store, job_id)
        recorded(store, job_id, token, Ending(text="an answer", model="gemini-2.5-flash-lite"))
    for _ in range(open_jobs):
        submitted(store, Job(contents=MARKED), batch_id)
    store.do(batches.seal(batch_id, retention_s=RETENTION_S))
    return batch_id


def test_a_result_file_becomes_a_page() -> None:
    """results.jsonl if nothing is named; without prompts and answers."""
    write_results("results.jsonl", result(1), result(2, calls=[call(error=ErrorType.TIMEOUT)]))
    text = page_of()
    assert "<h1>Promptyard report</h1>" in text
    assert "gemini-2.5-flash-lite" in text
    assert "a marked answer" not in text


def test_output_names_the_page_and_text_needs_none() -> None:
    """-o writes there; --text prints, and writes only what -o asks for."""
    write_results("mine.part", result(1))
    assert say("mine.part", "-o", "other.html").exit_code == 0
    assert Path("other.html").exists()
    printed = say("mine.part", "--text")
    assert "Jobs by route" in printed.stdout
    assert printed.stderr == ""
    assert not Path("report.html").exists()
    assert "Jobs by route" in say("mine.part", "--text", "-o", "both.html").stdout
    assert Path("both.html").exists()


def test_prompts_of_a_result_file_are_in_its_input() -> None:
    """By line; the results do not have them."""
    write_results("results.jsonl", result(2))
    Path("in.jsonl").write_text(f'{{"prompt": "an unseen one"}}\n{{"prompt": "{MARKED}"}}\n')
    text = page_of("--input", "in.jsonl")
    assert "a marked prompt &lt;b&gt;" in text
    assert "an unseen one" not in text
    unknown = say("--prompts")
    assert unknown.exit_code == 2
    assert "--input" in unknown.stderr


def test_lines_that_are_no_results_are_left_out_and_told() -> None:
    """A cut last line, an input line; a file of nothing else is refused."""
    path = write_results("results.jsonl", result(1))
    path.write_bytes(b'\n{"prompt": "x"}\n' + path.read_bytes() + encode_result(result(2))[:50])
    assert "2 lines of results.jsonl left out" in page_of()
    Path("in.jsonl").write_text('{"prompt": "x"}\n')
    said = say("in.jsonl")
    assert said.exit_code == 2
    assert "in.jsonl has 1 line, none of them a result" in said.stderr


@pytest.mark.parametrize("name", ["absent.jsonl", "no/such/file", "results.jsonl"])
def test_a_file_that_is_not_there_is_named(name: str) -> None:
    """In one line, with exit code 2."""
    said = say(name)
    assert said.exit_code == 2
    assert f"{name} does not exist" in said.stderr


def test_a_page_that_cannot_be_written_is_said() -> None:
    """In one line."""
    write_results("results.jsonl", result(1))
    said = say("-o", "no/such/folder.html")
    assert said.exit_code == 2
    assert "cannot be written" in said.stderr


def test_a_batch_becomes_a_page(redis_url: str, store: Store, producer: Producer) -> None:
    """With the workers' prices, and what is still open."""
    batch_id = batch(producer, store, done=2, open_jobs=3)
    text = page_of(batch_id, "--redis-url", redis_url)
    assert f"batch {batch_id}" in text
    assert "The batch is not done: 3 jobs to go." in text
    assert "all pro" in text
    assert "a marked prompt" not in text


def test_prompts_of_a_batch_are_in_the_store(
    redis_url: str, store: Store, producer: Producer
) -> None:
    """Only on request, and escaped."""
    batch_id = batch(producer, store, done=1)
    assert "a marked prompt &lt;b&gt;" in page_of(batch_id, "--prompts", "--redis-url", redis_url)


def test_a_batch_that_is_not_there_or_has_no_results(
    redis_url: str, store: Store, producer: Producer
) -> None:
    """Exit codes 4 and 2; what to do."""
    missing = say("nothing", "--redis-url", redis_url)
    assert missing.exit_code == 4
    empty = say(batch(producer, store, done=0, open_jobs=1), "--redis-url", redis_url)
    assert empty.exit_code == 2
    assert "has no results yet" in empty.stderr


def test_failed_jobs_of_a_store_have_their_error(
    redis_url: str, store: Store, producer: Producer
) -> None:
    """The type, never the message: a server may have quoted the prompt."""
    batch_id = batch(producer, store, done=0)
    job_id = submitted(store, Job(contents="x"), batch_id)
    error = JobError(type=ErrorType.INVALID_REQUEST, message="it quotes: a marked prompt")
    store.do(jobs.reject(job_id, Ending(error=error), retention_s=RETENTION_S))
    text = page_of(batch_id, "--redis-url", redis_url)
    assert "invalid_request" in text
    assert "it quotes" not in text


def test_the_demo_leaves_its_page_beside_the_results(capsys: pytest.CaptureFixture[str]) -> None:
    """And names it; with the example prompts, which are ours."""
    Path("out").mkdir()
    path = write_results("out/results.jsonl", result(1))
    leave_report(path, input_file=str(cli.example_prompts()))
    assert "report: out/report.html (" in capsys.readouterr().err
    assert 'class="note"' in Path("out/report.html").read_text()
