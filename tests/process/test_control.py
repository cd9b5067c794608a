"""Pause, resume, cancel, expiry and budgets, through real workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from promptyard.batch import Batch, BatchState
from promptyard.cli.app import build_app
from promptyard.errors import BudgetSpent
from promptyard.job import Job, JobState
from promptyard.names import Tier
from promptyard.store import jobs, keys, parking
from promptyard_worker.quota.estimate import cost_usd, input_tokens
from promptyard_worker.routing import load_router
from tests.conftest import wait_until
from tests.process.conftest import CONCURRENCY, ROOT, Yard, kill

pytestmark = pytest.mark.process

LITE = "gemini-2.5-flash-lite"
PLACES = ("batch", "tier", "model")


def prompts(count: int, what: str) -> list[Job]:
    """Jobs of the lite tier, each with a prompt of its own."""
    return [Job(contents=f"{what} {n:02}: yes or no?", tier=Tier.LITE) for n in range(count)]


@contextmanager
def paused(yard: Yard, **place: Any) -> Iterator[None]:
    """Pause something for a while; the yard is shared."""
    yard.producer.pause(**place)
    try:
        yield
    finally:
        yard.producer.resume(**place)


def wait_for_parked(yard: Yard, place: str, count: int) -> None:
    """Until so many jobs wait in a place, and the workers have nothing else to do."""

    def all_parked() -> bool:
        return yard.store.do(parking.parked_count(place)) == count and yard.is_idle()

    wait_until(all_parked, description=f"{count} jobs parked at {place}")


def assert_called_once(yard: Yard, batch: Batch, work: list[Job]) -> None:
    """The batch ends, each of its jobs with one call and an answer."""
    status = yard.finish(batch)
    assert status.counts[JobState.SUCCEEDED] == len(work)
    assert status.retries == 0
    assert [yard.calls(job.text) for job in work] == [1] * len(work)
    assert all(len(result.attempts) == 1 for result in yard.producer.results(batch))


@pytest.mark.parametrize("kind", PLACES)
def test_a_pause_stops_calls_until_it_is_resumed(yard: Yard, kind: str) -> None:
    """Its jobs wait without a message, others go on; nothing counts as an attempt."""
    batch = Batch(id=yard.producer.open_batch(), submitted=0)
    name = {"batch": batch.id, "tier": "lite", "model": LITE}[kind]
    work = prompts(20, f"paused {kind}")
    with paused(yard, **{kind: name}):
        yard.producer.submit_batch(work, batch_id=batch.id)
        wait_for_parked(yard, f"{kind}:{name}", len(work))
        other = Tier.LITE if kind == "batch" else Tier.FLASH
        assert yard.run_one(Job(contents=f"Beside a paused {kind}.", tier=other)).ok
        assert yard.sim.stats()["calls"] == 1
        status = yard.producer.status(batch)
        assert (status.counts[JobState.ROUTED], status.finished) == (len(work), 0)
    assert_called_once(yard, batch, work)


def test_a_call_in_flight_outlasts_the_pause(yard: Yard) -> None:
    """It is paid, so its answer is kept; the next job of the batch is not called."""
    slow = Job(contents="Slowly. [[sim: latency=500ms]]", tier=Tier.LITE)
    next_one = Job(contents="And then?", tier=Tier.LITE)
    batch = yard.producer.submit_batch([slow])
    wait_until(lambda: yard.sim.stats()["in_flight"] == 1, description="the call is in flight")
    with paused(yard, batch=batch):
        yard.producer.submit_batch([next_one], batch_id=batch.id)
        assert yard.producer.result(slow.id, timeout=20).ok
        wait_for_parked(yard, parking.batch_place(batch.id), 1)
        assert yard.producer.status(batch).state is BatchState.PAUSED
    assert_called_once(yard, batch, [slow, next_one])


def test_a_pause_outlasts_the_workers(own_yard: Yard) -> None:
    """Parked jobs and those still queued wait for the next worker, and for the resuming."""
    own_yard.producer.pause(tier="lite")
    parked, queued = prompts(10, "parked"), prompts(10, "queued")
    worker = own_yard.start("lite")
    first = own_yard.producer.submit_batch(parked)
    place = parking.tier_place("lite")
    wait_for_parked(own_yard, place, len(parked))
    kill(worker)
    second = own_yard.producer.submit_batch(queued)
    own_yard.start("lite")
    wait_for_parked(own_yard, place, len(parked) + len(queued))
    assert own_yard.sim.stats()["calls"] == 0
    own_yard.producer.resume(tier="lite")
    assert_called_once(own_yard, first, parked)
    assert_called_once(own_yard, second, queued)


def test_a_job_whose_time_is_up_is_not_called(yard: Yard) -> None:
    """However it spent its time: here, parked."""
    job = Job(contents="Too late.", tier=Tier.LITE, expires_in=timedelta(milliseconds=400))
    with paused(yard, tier="lite"):
        batch = yard.producer.submit_batch([job])
        wait_for_parked(yard, parking.tier_place("lite"), 1)
        deadline = float(yard.raw.hget(keys.job(job.id), "deadline") or 0)
        wait_until(lambda: yard.store.do(jobs.time_s()) > deadline, description="its time is up")
    assert yard.finish(batch).counts[JobState.EXPIRED] == 1
    assert yard.calls(job.text) == 0


def test_a_cancelled_job_is_not_called(yard: Yard) -> None:
    """One that was parked, when its tier is resumed."""
    work = prompts(5, "cancelled")
    with paused(yard, tier="lite"):
        batch = yard.producer.submit_batch(work)
        wait_for_parked(yard, parking.tier_place("lite"), len(work))
        assert yard.producer.cancel(batch) == len(work)
        assert yard.producer.status(batch).state is BatchState.DONE
    assert yard.run_one(prompts(1, "the next")[0]).ok
    assert [yard.calls(job.text) for job in work] == [0] * len(work)


def test_queued_jobs_that_ended_are_not_called(own_yard: Yard) -> None:
    """Cancelled, or too late, before a worker came: their messages cost nothing."""
    cancelled = prompts(20, "cancelled")
    late = Job(contents="Late.", tier=Tier.LITE, expires_in=timedelta(milliseconds=1))
    own_yard.producer.cancel(own_yard.producer.submit_batch(cancelled))
    batch = own_yard.producer.submit_batch([late])
    own_yard.start("lite")
    assert own_yard.run_one(prompts(1, "the next")[0]).ok
    assert own_yard.finish(batch).counts[JobState.EXPIRED] == 1
    wait_until(own_yard.is_idle, description="every message is taken")
    assert own_yard.sim.stats()["calls"] == 1


def call_usd(job: Job) -> float:
    """What the workers think that its call costs."""
    config = load_router(ROOT / "router.yaml")
    return cost_usd(config.model(LITE), input_tokens(job))


def test_a_batch_spends_its_budget_and_no_more(yard: Yard) -> None:
    """It pauses, none of its jobs fails; with a higher cap it goes on, each job called once."""
    work = prompts(60, "budget")
    estimate_usd = call_usd(work[0])
    cap_usd = 1.5 * estimate_usd
    batch = yard.producer.submit_batch(work, max_cost_usd=cap_usd)

    def stands_still() -> bool:
        return yard.producer.status(batch).out_of_budget and yard.is_idle()

    wait_until(stands_still, description="the budget is spent")
    status = yard.producer.status(batch)
    found = list(yard.producer.results(batch))
    assert all(result.ok for result in found)
    assert status.finished == len(found) == yard.sim.stats()["calls"]
    assert 0 < status.finished < len(work)
    dearest_usd = max(result.cost_usd for result in found)
    overdrawn_usd = CONCURRENCY * max(0.0, dearest_usd - estimate_usd)
    assert cap_usd - estimate_usd < status.cost_usd <= cap_usd + overdrawn_usd
    with pytest.raises(BudgetSpent):
        yard.producer.resume(batch)
    yard.producer.resume(batch, max_cost_usd=10.0)
    assert_called_once(yard, batch, work)


def run_command(yard: Yard, folder: Path, *arguments: str) -> Result:
    """``promptyard run`` of the folder's file, on the yard's workers."""
    files = (str(folder / "in.jsonl"), "-o", str(folder / "out.jsonl"))
    return CliRunner().invoke(
        build_app(), ["run", *files, "--quiet", *arguments, "--redis-url", yard.url]
    )


def test_a_run_ends_at_its_budget_and_is_continued(yard: Yard, tmp_path: Path) -> None:
    """Exit code 7 and what there is by then; then 0 and the whole, nothing called twice."""
    texts = [f"run {n:02}: yes or no?" for n in range(40)]
    lines = [f'{{"prompt": "{text}", "tier": "lite"}}\n' for text in texts]
    (tmp_path / "in.jsonl").write_text("".join(lines))
    cap_usd = 1.5 * call_usd(Job(contents=texts[0]))
    said = run_command(yard, tmp_path, "--max-cost-usd", f"{cap_usd:.9f}")
    assert said.exit_code == 7, said.output
    assert "wait for a higher budget, 0 lost" in said.stdout
    results = (tmp_path / "out.jsonl.part").read_text().splitlines()
    assert len(results) == yard.sim.stats()["calls"] < len(texts)
    said = run_command(yard, tmp_path, "--max-cost-usd", "10")
    assert said.exit_code == 0, said.output
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == len(texts)
    assert [yard.calls(text) for text in texts] == [1] * len(texts)
