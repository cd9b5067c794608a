"""Outages of the models: jobs wait or go elsewhere, none fails, none calls in vain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from promptyard.batch import Batch
from promptyard.embedded import EmbeddedServer
from promptyard.job import ErrorType, Job, JobState
from promptyard.names import Tier
from promptyard.store import breakers, keys, parking
from promptyard_worker.sim.config import SimConfig
from promptyard_worker.sim.fault import Fault
from promptyard_worker.sim.profile import DEFAULT_MODELS
from promptyard_worker.sim.server import SimServer
from tests.conftest import wait_until
from tests.process.conftest import CONCURRENCY, HASTY_MODEL, UNACKED, Yard, checked, new_sim

pytestmark = pytest.mark.process

PRO, FLASH, LITE = "gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite"
BREAKER = {"min_calls": 5, "window_s": 10, "open_s": 0.3, "max_open_s": 0.6}
MODELS = (*DEFAULT_MODELS, HASTY_MODEL)


@contextmanager
def yard_at(folder: Path, sim: SimServer, **policy: Any) -> Iterator[Yard]:
    """A yard without workers yet, whose breakers open soon and close soon."""
    with EmbeddedServer(folder, persist=False) as server:
        made = Yard(
            folder,
            server.url,
            sim,
            policy={"breaker": BREAKER, **policy},
            PROMPTYARD_LEASE_S="2",
        )
        with checked(made):
            yield made


def broken_sim(port: int = 0) -> SimServer:
    """A stand-in that answers nothing but 503."""
    config = SimConfig(latency_scale=0, models=MODELS, faults={Fault("503"): 1.0})
    return SimServer(config, port=port)


def parked(yard: Yard) -> int:
    """Jobs that wait without a message, wherever they do."""
    return sum(
        yard.store.do(parking.parked_count(place)) for place in yard.store.do(parking.places())
    )


def attempts_of(yard: Yard, batch: Batch) -> int:
    """Calls on record, of all jobs together."""
    return sum(len(result.attempts) for result in yard.producer.results(batch))


def test_an_outage_of_every_model_fails_no_job(tmp_path: Path) -> None:
    """2,000 jobs wait without messages and without calls, and end well when the models are back.

    What the workers hold meanwhile is bounded by their slots, not by the number of jobs.
    """
    with broken_sim() as sim:
        port = sim.port
        with yard_at(tmp_path, sim) as yard:
            yard.start("lite")
            yard.start("flash")
            work = [Job(contents=f"Is {n} odd?", tier=Tier.LITE) for n in range(2000)]
            batch = yard.producer.submit_batch(work)
            held: list[int] = []

            def all_wait() -> bool:
                held.append(yard.raw.hlen(UNACKED))
                return parked(yard) >= len(work) - 2 * CONCURRENCY

            wait_until(all_wait, description="the jobs are parked", timeout_s=40)
            assert max(held) <= 4 * CONCURRENCY, "two workers: what runs, and what is prefetched"
            assert yard.producer.status(batch).finished == 0
            before = sim.stats()["calls"]
            wait_until(
                lambda: sim.stats()["calls"] >= before + 2, description="probes go on trying"
            )
            in_vain = sim.stats()["calls"]
            assert in_vain < 200, "of 2,000 jobs that could have made 16,000"
            sim.__exit__(None, None, None)
            with new_sim(port=port) as healthy:
                yard.finish(batch, timeout_s=60)
                assert healthy.stats()["succeeded_per_prompt_max"] == 1
                assert healthy.stats()["prompts_succeeded"] == len(work)
            assert all(result.ok for result in yard.producer.results(batch))


def test_a_model_that_is_down_sends_its_jobs_to_the_next(tmp_path: Path) -> None:
    """Lite is down: the breaker opens, the others go to flash without a call of lite."""
    with new_sim() as sim, yard_at(tmp_path, sim) as yard:
        yard.start("lite")
        yard.start("flash")
        bad = [Job(contents=f"Break {n}. [[sim: 503 x1]]", tier=Tier.LITE) for n in range(10)]
        good = [Job(contents=f"Mend {n}.", tier=Tier.LITE) for n in range(40)]
        first = yard.producer.submit_batch(bad)
        wait_until(
            lambda: yard.raw.hexists(keys.breaker(LITE), "open_until"),
            description="the breaker of lite is open",
        )
        yard.finish(first)
        yard.store.do(breakers.trip([LITE], reason="failures", for_s=60))  # and it stays open
        results = yard.run(good).values()
        assert all(result.ok for result in results)
        assert {result.model for result in results} == {FLASH}
        assert all(len(result.attempts) == 1 for result in results), "no call of lite"


def test_a_policy_may_wait_for_its_own_model(tmp_path: Path) -> None:
    """``when_open: wait``: nothing goes to flash; all end on lite once it is back."""
    waits = {**BREAKER, "when_open": "wait"}
    with new_sim() as sim, yard_at(tmp_path, sim, breaker=waits) as yard:
        yard.start("lite")
        work = [Job(contents=f"Wait {n}. [[sim: 503 x2]]", tier=Tier.LITE) for n in range(8)]
        results = yard.run(work, timeout_s=60)
        assert {result.model for result in results.values()} == {LITE}
        assert all(result.ok for result in results.values())


def test_a_refused_key_opens_every_breaker_and_fails_no_job(tmp_path: Path) -> None:
    """401: loud, once; the jobs wait; with the right key again they all end."""
    with SimServer(SimConfig(latency_scale=0, models=MODELS, api_key="another")) as sim:
        port = sim.port
        with yard_at(tmp_path, sim) as yard:
            worker = yard.start("lite")
            yard.start("flash")
            work = [Job(contents=f"Open {n}.", tier=Tier.LITE) for n in range(100)]
            batch = yard.producer.submit_batch(work)
            wait_until(lambda: parked(yard) == len(work), description="the jobs are parked")
            opened = [yard.raw.hget(keys.breaker(model), "reason") for model in (PRO, FLASH, LITE)]
            assert opened == [b"unauthenticated"] * 3
            assert yard.producer.status(batch).finished == 0
            assert "key is refused" in worker.log.read_text()
            assert sim.stats()["calls"] <= 2 * CONCURRENCY
            sim.__exit__(None, None, None)
            yard.raw.delete(*(keys.breaker(model) for model in (PRO, FLASH, LITE)))  # or 30 s
            with new_sim(port=port):
                yard.finish(batch)
            assert all(result.ok for result in yard.producer.results(batch))


def test_a_spent_day_falls_back_at_once(tmp_path: Path) -> None:
    """429 of a day: lite is left alone until midnight Pacific; flash takes its jobs."""
    quota_of_day = SimConfig(latency_scale=0, models=MODELS, rpd={LITE: 5})
    with SimServer(quota_of_day) as sim, yard_at(tmp_path, sim) as yard:
        yard.start("lite")
        yard.start("flash")
        work = [Job(contents=f"Day {n}.", tier=Tier.LITE) for n in range(40)]
        results = list(yard.run(work).values())
        assert all(result.ok for result in results)
        assert sum(result.model == LITE for result in results) == 5
        assert sim.stats()["rate_limited"]["rpd"] <= CONCURRENCY
        assert yard.raw.hget(keys.breaker(LITE), "reason") == b"daily quota"
        left_s = float(yard.raw.hget(keys.breaker(LITE), "open_until") or 0) - yard.raw.time()[0]
        assert 0 < left_s <= 25 * 3600


def test_a_429_stops_every_worker_of_the_model(tmp_path: Path) -> None:
    """RetryInfo for one call is heeded by two workers; no attempt is burned, none is lost."""
    with new_sim() as sim, yard_at(tmp_path, sim, retry={"max_attempts": 1}) as yard:
        yard.start("lite")
        yard.start("lite")
        first = Job(contents="Stop. [[sim: 429 x1 quota=rpm retry=2s]]", tier=Tier.LITE)
        batch = yard.producer.submit_batch([first])
        wait_until(lambda: sim.stats()["calls"] == 1, description="the refusal has come")
        wait_until(
            lambda: yard.raw.hget(keys.quota(LITE), "blocked"), description="the model is stopped"
        )
        rest = [Job(contents=f"Go {n}.", tier=Tier.LITE) for n in range(2 * CONCURRENCY)]
        second = yard.producer.submit_batch(rest)
        yard.finish(batch)
        yard.finish(second)
        (refused,) = yard.producer.results(batch)
        assert refused.ok, "one attempt allowed, and the refused call did not count"
        kinds = [attempt.error.type if attempt.error else None for attempt in refused.attempts]
        assert kinds == [ErrorType.QUOTA_EXCEEDED, None]
        free_from = refused.attempts[0].started.timestamp() + 2
        for result in yard.producer.results(second):
            assert result.attempts[0].started.timestamp() >= free_from - 0.05


def test_a_job_gives_up_after_its_patience(tmp_path: Path) -> None:
    """An outage longer than give_up_after_s: it fails, and says what it waited for."""
    retry = {"max_attempts": 2, "base_delay_s": 0.05, "max_delay_s": 0.1, "give_up_after_s": 1.5}
    with broken_sim() as sim, yard_at(tmp_path, sim, retry=retry) as yard:
        yard.start("lite")
        yard.start("flash")
        results = yard.run([Job(contents=f"Long {n}.", tier=Tier.LITE) for n in range(20)])
        assert {result.status for result in results.values()} == {JobState.FAILED}
        kinds = {result.error.type for result in results.values() if result.error}
        assert kinds <= {ErrorType.MODEL_UNAVAILABLE, ErrorType.SERVER_ERROR}
        assert ErrorType.MODEL_UNAVAILABLE in kinds
