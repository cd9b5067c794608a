"""Workers and Redis are killed again and again under faults: nothing is lost, nothing doubled.

``CHAOS_SEED`` repeats a run's prompts, faults and choices; the moments stay the machine's own.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from promptyard.job import Job, JobResult
from promptyard.names import QUEUES, Tier
from promptyard.store import keys
from promptyard_worker.sim.config import SimConfig
from promptyard_worker.sim.fault import Fault
from tests.chaos.audit import Books
from tests.chaos.chaos import Chaos
from tests.chaos.line import Feeder, Reader
from tests.chaos.watch import MARK, Watch, watched
from tests.conftest import wait_until
from tests.process.conftest import ROOT, RestartableServer, Yard

FAULTS: Final = {Fault("503"): 0.10, Fault("429"): 0.05, Fault.HANG: 0.02}
#: Of every call: longer than the slowest answer, so that only a hang meets it.
TIMEOUT_S: Final = 4.0
LATENCY_MS: Final = (100, 1_500)
#: Share of the jobs that name their tier; the others are routed.
NAMED: Final = 0.2
#: What bad luck alone cannot use up.
RETRY: Final = {"max_attempts": 10, "max_worker_lost": 50, "base_delay_s": 0.2, "max_delay_s": 1}
#: From the end of the chaos until every job has ended (the issue's figure).
RECOVERY_S: Final = 30.0
#: What takes so long is not late, but lost.
PATIENCE_S: Final = 120.0

Tell = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Form:
    """How much of it."""

    jobs: int
    #: Jobs of each batch.
    batch: int
    #: Calls at once of each worker.
    concurrency: int
    #: How long a worker may be silent.
    lease_s: float
    #: The chaos ends after so long, whatever has been done.
    rage_s: float


SHORT: Final = Form(jobs=500, batch=100, concurrency=16, lease_s=5, rage_s=25)
LONG: Final = Form(jobs=5_000, batch=200, concurrency=16, lease_s=20, rage_s=600)


@pytest.fixture(
    params=[
        pytest.param(SHORT, id="short", marks=pytest.mark.process),
        pytest.param(LONG, id="long", marks=pytest.mark.chaos),
    ]
)
def form(request: pytest.FixtureRequest) -> Form:
    """The short form in every run of the tests, the long one by ``make chaos``."""
    found: Form = request.param
    return found


@pytest.fixture
def seed() -> int:
    """Of this run."""
    return int(os.environ.get("CHAOS_SEED") or secrets.randbelow(1_000_000))


@pytest.fixture
def watch(seed: int) -> Iterator[Watch]:
    """A stand-in that fails as often as the issue says."""
    with watched(SimConfig(latency_scale=0, faults=FAULTS, seed=seed)) as made:
        yield made


@pytest.fixture
def yard(
    tmp_path: Path, restartable: RestartableServer, watch: Watch, form: Form
) -> Iterator[Yard]:
    """A yard without workers yet; Celery logs tracebacks when Redis dies."""
    models = yaml.safe_load((ROOT / "router.yaml").read_text())["models"]
    made = Yard(
        tmp_path,
        restartable.url,
        watch.server,
        policy={
            "retry": RETRY,
            "breaker": {},
            "models": {name: {**model, "timeout_s": TIMEOUT_S} for name, model in models.items()},
        },
        PROMPTYARD_LEASE_S=str(form.lease_s),
    )
    try:
        yield made
    finally:
        made.close(unruffled=False)


def test_kills_under_faults_lose_and_double_nothing(
    yard: Yard, restartable: RestartableServer, watch: Watch, form: Form, seed: int, tell: Tell
) -> None:
    """Every job ends well, once, soon; and calls are repeated only where a kill is to blame."""
    rng = random.Random(seed)
    chaos = Chaos(yard, restartable, watch, rng, concurrency=form.concurrency, lease_s=form.lease_s)
    Run(yard, watch, chaos, form, make_jobs(form.jobs, rng), tell, seed=seed).go()


class Run:
    """One chaos from its first job to its figures."""

    def __init__(
        self,
        yard: Yard,
        watch: Watch,
        chaos: Chaos,
        form: Form,
        jobs: Sequence[Job],
        tell: Tell,
        *,
        seed: int,
    ) -> None:
        self._yard = yard
        self._stand_in = watch.server
        self._watch = watch
        self._chaos = chaos
        self._form = form
        self._jobs = jobs
        slices = [jobs[start : start + form.batch] for start in range(0, len(jobs), form.batch)]
        self._feeder = Feeder(yard.producer, slices, self._wants_more)
        self._reader = Reader(yard.producer, self._feeder.batches)
        self._figures: dict[str, Any] = {"seed": seed, "jobs": len(jobs)}
        tell(self._figures)

    def go(self) -> None:
        """Make it, let it end, look at what is left."""
        self._chaos.start()
        started_s = time.monotonic()
        self._feeder.start()
        self._reader.start()
        self._chaos.rage(lambda: self._answered() / self._form.jobs, at_most_s=self._form.rage_s)
        over_s = time.monotonic()
        self._wait_for_the_end()
        self._figures["chaos_s"] = round(over_s - started_s, 1)
        self._figures["recovery_s"] = round(time.monotonic() - over_s, 1)
        self._look_at_jobs()
        self._look_at_calls()
        self._look_at_redis()
        assert self._figures["recovery_s"] <= RECOVERY_S

    def _answered(self) -> int:
        """Jobs that have been answered, as the stand-in counts."""
        answered: int = self._stand_in.stats()["prompts_succeeded"]
        return answered

    def _wants_more(self, submitted: int) -> bool:
        """Jobs come little by little, so that all queues are in use whenever a kill comes."""
        return submitted - self._answered() < 2 * self._form.batch

    def _wait_for_the_end(self) -> None:
        """Longer than is allowed, to tell what is late from what is lost."""
        self._feeder.join(PATIENCE_S)
        assert not self._feeder.is_alive(), "the producer did not come through"
        for status in self._yard.producer.batches():
            self._yard.finish(status.id, timeout_s=PATIENCE_S)
        self._reader.join(PATIENCE_S)
        assert not self._reader.is_alive(), "the reader did not come through"

    def _look_at_jobs(self) -> None:
        """Every job has ended well, and was told once."""
        results = self._reader.results
        times = Counter(result.id for result in results)
        lost = {job.id for job in self._jobs} - set(times)
        failed = [result for result in results if not result.ok]
        self._figures |= {
            "lost": len(lost),
            "doubled": len(results) - len(times),
            "failed": len(failed),
            "submits_interrupted": self._feeder.interruptions,
            "reads_interrupted": self._reader.interruptions,
        }
        assert not lost
        assert len(results) == len(times)
        assert not failed, failed[:3]
        self._yard.check_invariants()

    def _look_at_calls(self) -> None:
        """Only what was in a killed worker's hands has been called again."""
        stats = self._stand_in.stats()
        books = Books(self._chaos.kills, self._chaos.outages, recorded(self._reader.results))
        audit = books.audit(self._watch.diary)
        repeated = stats["calls"] - self._form.jobs - sum(stats["faults"].values())
        self._figures |= {
            "calls": stats["calls"],
            "faults": stats["faults"],
            "worker_kills": len(self._chaos.kills),
            "redis_kills": len(self._chaos.outages),
            "in_hand_at_kills": audit.in_hand,
            "repeated": repeated,
            "answered_twice": stats["succeeded"] - stats["prompts_succeeded"],
        }
        assert not audit.unexplained, audit.unexplained[:10]
        assert repeated <= len(audit.repeated) <= audit.in_hand

    def _look_at_redis(self) -> None:
        """No worker has anything in hand any more, and no job waits."""
        raw = self._yard.raw
        indexes = [keys.waiting(queue, level) for queue in QUEUES for level in range(10)]

        def is_settled() -> bool:
            return not any(raw.zcard(key) for key in (keys.LEASES, keys.TAKEN, *indexes))

        wait_until(is_settled, description="nothing is in hand, and nothing waits")


def make_jobs(count: int, rng: random.Random) -> list[Job]:
    """Distinct jobs of every kind; what they are numbered by is the stand-in's key to them."""
    lines = (ROOT / "examples" / "prompts.jsonl").read_text().splitlines()
    texts = [json.loads(line)["prompt"] for line in lines]

    def make(number: int) -> Job:
        latency = f"[[sim: latency={rng.randint(*LATENCY_MS)}ms]]"
        text = f"{texts[number % len(texts)]} {MARK.format(number=number)} {latency}"
        tier = rng.choice(list(Tier)) if rng.random() < NAMED else None
        return Job(contents=text, custom_id=str(number), tier=tier)

    return [make(number) for number in range(count)]


def recorded(results: Iterable[JobResult]) -> dict[int, float]:
    """When each job's end was put on record (``time.monotonic``), by its number."""
    offset_s = time.monotonic() - time.time()
    return {
        int(result.custom_id or ""): result.timings.finished.timestamp() + offset_s
        for result in results
        if result.timings
    }
