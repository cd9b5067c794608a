"""Flower beside live workers: what it shows, and what it may not do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from promptyard.embedded import EmbeddedServer
from promptyard.job import Job, JobResult
from promptyard.names import GENERATE_TASK, Tier
from promptyard_worker.sim.server import SimServer
from tests.conftest import wait_until
from tests.process.conftest import CONCURRENCY, START_S, Yard, checked, new_sim
from tests.servers import free_port
from tests.web import get, get_json, scrape

pytestmark = pytest.mark.process

USER: Final = "team:pass"
TIERS: Final = ("pro", "flash", "lite")


class Flower:
    """Flower of a yard."""

    def __init__(self, yard: Yard) -> None:
        self.yard = yard
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        child = yard.beside("flower", "--port", str(port), FLOWER_BASIC_AUTH=USER)

        def answers() -> bool:
            assert child.poll() is None, child.tail(30)
            return get(f"{self.url}/healthcheck")[0] == 200

        wait_until(answers, description="Flower answers", timeout_s=START_S)

    def ask(self, path: str) -> Any:
        """JSON of its API."""
        return get_json(f"{self.url}{path}", user=USER)

    def workers(self) -> dict[str, Any]:
        """What it knows of the workers, by queue."""
        found = self.ask("/api/workers?refresh=1")
        return {name.partition("@")[0]: about for name, about in found.items()}

    def post(self, path: str) -> int:
        """Status of an order."""
        order = urllib.request.Request(f"{self.url}{path}", data=b"", method="POST")
        order.add_header("Authorization", f"Basic {b64encode(USER.encode()).decode()}")
        try:
            with urllib.request.urlopen(order, timeout=20) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code


@pytest.fixture(scope="module")
def sim() -> Iterator[SimServer]:
    """A stand-in of the module's own."""
    with new_sim() as server:
        yield server


@pytest.fixture(scope="module")
def yard(sim: SimServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """A worker a tier that tells of what it does."""
    folder = tmp_path_factory.mktemp("flower")
    with EmbeddedServer(folder, persist=False) as server:
        made = Yard(folder, server.url, sim)
        with checked(made):
            made.ready(*[made.launch(tier, flags=["--events"]) for tier in TIERS])
            yield made


@pytest.fixture(scope="module")
def flower(yard: Yard) -> Flower:
    """Flower, once it knows the workers."""
    made = Flower(yard)
    wait_until(
        lambda: {name for name, about in made.workers().items() if "stats" in about} == set(TIERS),
        description="Flower knows the workers",
    )
    return made


@pytest.fixture(scope="module")
def traveller(yard: Yard, flower: Flower) -> JobResult:
    """A job that pro refuses four times, so that flash answers it."""
    # events of two workers may overtake each other; calls of real models take longer than that
    prompt = "Who is there? [[sim: 503 x4, latency=2s]]"
    result = yard.run_one(Job(contents=prompt, tier=Tier.PRO))
    assert (result.ok, result.tier, len(result.attempts)) == (True, "flash", 5)
    wait_until(
        lambda: flower.ask("/api/tasks").get(result.id, {}).get("state") == "SUCCESS",
        description="Flower has heard that it is done",
    )
    return result


def test_flower_knows_the_workers(flower: Flower) -> None:
    """Their queues, and how much each does at once."""
    for name, about in flower.workers().items():
        assert [queue["name"] for queue in about["active_queues"]] == [name]
        assert about["stats"]["pool"]["max-concurrency"] == CONCURRENCY


def test_one_job_is_one_task_that_travels(flower: Flower, traveller: JobResult) -> None:
    """One id, tried four times by one worker, then done by another; its prompt is not there."""
    assert list(flower.ask("/api/tasks")) == [traveller.id]
    task = flower.ask(f"/api/task/info/{traveller.id}")
    assert (task["name"], task["state"]) == (GENERATE_TASK, "SUCCESS")
    assert task["worker"].startswith("flash@")
    assert task["args"] == f"('{traveller.id}',)"
    assert "Who is there" not in str(task)


def test_its_metrics_count_what_each_worker_did(flower: Flower, traveller: JobResult) -> None:
    """Prometheus may ask without a password: there is nothing of jobs in it."""
    found = scrape(f"{flower.url}/metrics", "worker", "type")
    counted = {
        (worker.partition("@")[0], kind): count
        for (name, worker, kind), count in found.items()
        if name == "flower_events_total" and kind.startswith("task-")
    }
    assert counted == {
        ("pro", "task-received"): 4,
        ("pro", "task-started"): 4,
        ("pro", "task-retried"): 4,
        ("flash", "task-received"): 1,
        ("flash", "task-started"): 1,
        ("flash", "task-succeeded"): 1,
    }


def test_flower_knows_how_long_queues_are(yard: Yard, flower: Flower) -> None:
    """All priorities of a queue together."""
    (lite,) = [card for card in yard.producer.workers() if card.queues == ("lite",)]
    os.kill(lite.pid, signal.SIGSTOP)
    try:
        levels = (0, 0, 3, 5, 9, 9)
        batch = yard.producer.submit_batch(
            [Job(contents=f"{n}", tier=Tier.LITE, priority=level) for n, level in enumerate(levels)]
        )

        def lengths() -> dict[str, int]:
            found = flower.ask("/api/queues/length")["active_queues"]
            return {queue["name"]: queue["messages"] for queue in found}

        # the one that the worker was waiting for is on its way to it
        wait_until(
            lambda: lengths() == {"pro": 0, "flash": 0, "lite": len(levels) - 1},
            description="Flower sees those that wait",
        )
    finally:
        os.kill(lite.pid, signal.SIGCONT)
    yard.finish(batch)


def test_flower_may_look_not_touch(yard: Yard, flower: Flower, traveller: JobResult) -> None:
    """It gives no orders, sends no tasks, and has no answers to show."""
    (name, *_) = [name for name in flower.ask("/api/workers") if name.startswith("pro@")]
    assert flower.post(f"/api/worker/shutdown/{name}") == 403
    assert flower.post(f"/api/task/revoke/{traveller.id}?terminate=true") == 403
    assert flower.post(f"/api/task/send-task/{GENERATE_TASK}") == 403
    status, text = get(f"{flower.url}/api/task/result/{traveller.id}", user=USER)
    assert status == 503
    assert "Who is there" not in text


def test_events_go_out_in_bunches(yard: Yard) -> None:
    """Three a job, and far fewer messages to Redis: each would cost as much as a step of a job."""
    bunches: list[list[str]] = []

    def heard() -> list[str]:
        while message := channel.get_message(ignore_subscribe_messages=True):
            events = json.loads(b64decode(json.loads(message["data"])["body"]))
            bunches.append([event["uuid"] for event in events])
        return [uuid for bunch in bunches for uuid in bunch if uuid in results]

    with yard.raw.pubsub() as channel:  # type: ignore[no-untyped-call]
        channel.psubscribe("*celeryev/task.multi")
        results = yard.run([Job(contents=f"{n}", tier=Tier.LITE) for n in range(200)])
        wait_until(lambda: len(heard()) >= 600, description="every event has been heard")
    assert len(heard()) == 600
    assert len(bunches) < 100


@pytest.mark.parametrize("path", ["/", "/tasks", "/broker", "/api/workers", "/api/tasks"])
def test_pages_ask_for_the_password(flower: Flower, path: str) -> None:
    """And take no other."""
    assert get(f"{flower.url}{path}")[0] == 401
    assert get(f"{flower.url}{path}", user="team:guess")[0] == 401
    assert get(f"{flower.url}{path}", user=USER)[0] == 200


def test_flower_is_not_open_to_others_without_a_password(yard: Yard) -> None:
    """It says what to set, and does not start."""
    said = subprocess.run(
        [sys.executable, "-m", "promptyard", "flower", "--host", "0.0.0.0"],
        env={**os.environ, "REDIS_URL": yard.url, "FLOWER_BASIC_AUTH": ""},
        capture_output=True,
        text=True,
        timeout=START_S,
    )
    assert said.returncode == 2
    assert "FLOWER_BASIC_AUTH=user:password" in said.stderr


def test_a_stack_brings_its_flower(tmp_path: Path) -> None:
    """``promptyard up --flower`` names it, and takes it along when it ends."""
    port = free_port()
    ours = ("GEMINI", "GOOGLE", "REDIS", "PROMPTYARD")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environ |= {"PROMPTYARD_HOME": str(tmp_path), "FLOWER_PORT": str(port)}
    with subprocess.Popen(
        [sys.executable, "-m", "promptyard", "up", "--flower"],
        env=environ,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as up:
        try:
            wait_until(
                lambda: get(f"http://127.0.0.1:{port}/healthcheck")[0] == 200,
                description="its Flower answers",
                timeout_s=START_S,
            )
        finally:
            up.terminate()
            _, said = up.communicate(timeout=40)
    assert f"Flower at http://127.0.0.1:{port}" in said
    assert get(f"http://127.0.0.1:{port}/healthcheck")[0] == 0
