"""Every job that ended has one line, wherever the lines go, however it ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from promptyard.embedded import EmbeddedServer
from promptyard.job import Job
from promptyard.names import Tier
from promptyard.store import decisions, keys
from promptyard_worker.sim.server import SimServer
from tests.conftest import wait_until
from tests.process.conftest import Yard, checked

pytestmark = pytest.mark.process

ROUTED: Final = Job(contents="Prove that the square root of two is irrational.", custom_id="c1")
FALLEN: Final = Job(contents="Who is there? [[sim: 503 x4]]", tier=Tier.PRO)
FAILED: Final = Job(contents="No. [[sim: 400]]", tier=Tier.LITE)
BLOCKED: Final = Job(contents="No. [[sim: safety]]", tier=Tier.LITE)
EXPIRED: Final = Job(contents="Late.", tier=Tier.LITE, expires_in=timedelta(milliseconds=1))
GONE: Final = Job(contents="Which model is that?", model="gemini-0.1-gone")
DAMAGED: Final = Job(contents="What was it?")
JOBS: Final = (ROUTED, FALLEN, FAILED, BLOCKED, EXPIRED, GONE, DAMAGED)

Lines = dict[str, dict[str, Any]]


@pytest.fixture
def yard(tmp_path: Path, sim: SimServer) -> Iterator[Yard]:
    """A yard without workers yet."""
    with EmbeddedServer(tmp_path, persist=False) as server:
        made = Yard(tmp_path, server.url, sim)
        with checked(made):
            yield made


def run(yard: Yard, where: str) -> Path:
    """Every kind of end, in one worker that logs there; it has stopped. Gives its output."""
    batch = yard.producer.submit_batch(JOBS)
    yard.raw.hset(keys.job(DAMAGED.id), "request", b"rubbish")
    worker = yard.start(environ={"PROMPTYARD_DECISION_LOG": where})
    yard.finish(batch)
    yard.end(worker)
    return worker.log


def by_job(lines: list[str]) -> Lines:
    """Lines by job; each job has one."""
    found = [json.loads(line) for line in lines]
    assert sorted(line["job_id"] for line in found) == sorted(job.id for job in JOBS)
    return {line["job_id"]: line for line in found}


def from_stdout(yard: Yard) -> list[str]:
    """Those among what the worker said."""
    said = run(yard, "stdout").read_text().splitlines()
    return [line for line in said if line.startswith("{")]


def from_file(yard: Yard) -> list[str]:
    """Those of a file in a folder that was not there."""
    path = yard.folder / "logs" / "decisions.jsonl"
    run(yard, str(path))
    return path.read_text().splitlines()


def from_redis(yard: Yard) -> list[str]:
    """Those of the stream, two at a time."""
    run(yard, "redis")
    found: list[str] = []
    after = "-"
    while page := yard.store.do(decisions.lines(after, count=2)):
        after = page[-1][0]
        found += [line for _, line in page]
    return found


@pytest.mark.parametrize("read", [from_stdout, from_file, from_redis])
def test_every_end_has_its_line(yard: Yard, read: Callable[[Yard], list[str]]) -> None:
    """The last lines too, of a worker that was told to stop right after."""
    lines = by_job(read(yard))
    results = {result.id: result for result in yard.producer.results(lines[ROUTED.id]["batch_id"])}
    for job_id, line in lines.items():
        error = results[job_id].error
        assert line["state"] == results[job_id].status
        if job_id != DAMAGED.id:  # its result cannot be read either, and says so in its own way
            assert line["error"] == (error.type if error else None)
    assert [lines[job.id]["state"] for job in (ROUTED, FALLEN, FAILED, BLOCKED, EXPIRED)] == [
        "succeeded",
        "succeeded",
        "failed",
        "blocked",
        "expired",
    ]
    check_routed(lines[ROUTED.id], results[ROUTED.id].model_dump(mode="json"))
    check_fallen(lines[FALLEN.id])


def check_routed(line: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Why it went where it went, what came of it, how long it took."""
    decision, real = line["decision"], result["decision"]
    assert line["custom_id"] == "c1"
    assert (line["tier"], line["model"]) == (result["tier"], result["model"])
    for name in ("stage", "route", "tier", "policy_version"):
        assert decision[name] == real[name]
    assert decision["scores"].keys() == real["scores"].keys() != set()
    assert decision["estimated_cost_usd"] == real["estimated_cost_usd"] > 0
    assert decision["margin"] == pytest.approx(real["margin"], abs=1e-4)
    assert line["tokens"]["output_tokens"] > 0
    assert line["cost_usd"] > 0
    seconds = line["seconds"]
    assert 0 <= seconds["to_routed"] <= seconds["total"]
    assert 0 <= seconds["calling"] <= seconds["total"]


def check_fallen(line: Mapping[str, Any]) -> None:
    """Every attempt, that of each worker's call; the tier that answered."""
    calls = [(one["model"], one["error"]) for one in line["attempts"]]
    assert calls == [("gemini-2.5-pro", "server_error")] * 4 + [("gemini-2.5-flash", None)]
    assert (line["tier"], line["decision"]["tier"], line["decision"]["stage"]) == (
        "flash",
        "pro",
        "explicit",
    )


def test_two_workers_share_a_file(yard: Yard) -> None:
    """A line of each ended job, whole, whoever wrote it."""
    path = yard.folder / "decisions.jsonl"
    log = {"PROMPTYARD_DECISION_LOG": str(path)}
    yard.ready(*[yard.launch("lite", environ=log) for _ in range(2)])
    jobs = [Job(contents=f"Say {n}.", tier=Tier.LITE) for n in range(100)]
    yard.run(jobs)
    wait_until(lambda: len(path.read_text().splitlines()) == 100, description="all have a line")
    written = [json.loads(line)["job_id"] for line in path.read_text().splitlines()]
    assert sorted(written) == sorted(job.id for job in jobs)
