"""docker-compose.yml: of the specification's form, and every service runs as it says.

No Docker is needed: each service's command line is started as it is, with its environment, its
secrets as files and its healthcheck, as a process of this machine. ``Here.table`` is all that is
changed: addresses, ports and folders of containers.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from promptyard.batch import BatchState
from promptyard.child import Child, spawn
from promptyard.embedded import find_program
from promptyard.job import Job
from promptyard.names import QUEUES, Tier
from promptyard.producer import Producer
from tests.compose_file import (
    ENTRYPOINT,
    IMAGE_HEALTHCHECK,
    bind_mounts,
    is_ours,
    seconds,
    services,
)
from tests.conftest import wait_until
from tests.process.conftest import START_S
from tests.servers import free_port
from tests.web import get, get_json, scrape

pytestmark = pytest.mark.process

SECRETS: Final = {
    "redis_password": "0f3b-marked-password",
    "gemini_api_key": "AIzaSyMarkedKeyOfTheTests0123456789abcd",
    "flower_basic_auth": "team:0f3b-marked-flower",
}
#: As the file's first lines say it for a rehearsal.
SHELL: Final = {"GEMINI_BASE_URL": "http://sim:8787"}
SERVICES: Final = {
    name: service
    for name, service in services(SHELL).items()
    if is_ours(service) or name == "redis"
}
PORTS: Final = {"exporter": "9464", "flower": "5555", "sim": "8787", "redis": "6379"}
METRICS_PORT: Final = "9465"
HARMLESS: Final = ("PATH", "HOME", "LANG", "PYTHONPATH", "TMPDIR")
JOBS: Final = 24
QUICK: Final = "[[sim: latency=20ms]]"


class Here:
    """The compose file's services on this machine.

    Args:
        folder: stands for the containers' folders.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, Child] = {}
        self.ports = {name: str(free_port()) for name in SERVICES}
        for name, secret in SECRETS.items():
            path = folder / "secrets" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(secret)
        (folder / "data").mkdir()
        self._stand_for_redis(folder / "bin" / "redis-server")

    def table(self, name: str) -> dict[str, str]:
        """What is in a service's text -> what stands for it here."""
        return {
            "/run/secrets": str(self.folder / "secrets"),
            "/data": str(self.folder / "data"),
            **{inside: str(here) for inside, here in bind_mounts(SERVICES[name]).items()},
            "redis:6379": f"127.0.0.1:{self.ports['redis']}",
            "sim:8787": f"127.0.0.1:{self.ports['sim']}",
            "0.0.0.0": "127.0.0.1",
            METRICS_PORT: self.ports[name],
            PORTS.get(name, METRICS_PORT): self.ports[name],
        }

    def start(self, name: str) -> None:
        """Start a service as the file gives it."""
        words = SERVICES[name]["command"]
        argv = [*ENTRYPOINT, *words] if is_ours(SERVICES[name]) else words
        self.running[name] = spawn(
            name, self._argv(name, argv), log=self._log(name), env=self._environ(name)
        )

    def is_healthy(self, name: str) -> bool:
        """Run its healthcheck once."""
        child = self.running[name]
        assert child.poll() is None, f"{name} ended:\n{child.tail(30)}"
        check = SERVICES[name].get("healthcheck", {}).get("test", IMAGE_HEALTHCHECK)
        kind, *words = check
        argv = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
        ran = subprocess.run(
            self._argv(name, argv), env=self._environ(name), capture_output=True, check=False
        )
        return ran.returncode == 0

    def stop(self, name: str) -> float:
        """Stop it as Docker does; gives the seconds it took."""
        child, grace_s = self.running[name], seconds(SERVICES[name]["stop_grace_period"])
        started = time.monotonic()
        child.terminate()
        assert child.wait(grace_s), f"{name} would be killed:\n{child.tail(30)}"
        assert child.poll() == 0, f"{name}: {child.poll()}\n{child.tail(30)}"
        return time.monotonic() - started

    def url(self, name: str, path: str) -> str:
        """Of a service."""
        return f"http://127.0.0.1:{self.ports[name]}{path}"

    def log_text(self, *names: str) -> str:
        """What services said; all of them if none is named."""
        return "\n".join(self._log(name).read_text() for name in names or SERVICES)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _argv(self, name: str, words: list[str]) -> list[str]:
        programs = {"promptyard": [sys.executable, "-m", "promptyard"], "python": [sys.executable]}
        first, *rest = (self._here(name, word) for word in words)
        return [*programs.get(first, [first]), *rest]

    def _environ(self, name: str) -> dict[str, str]:
        """The service's own environment, and of the machine's what no service reads."""
        ours = {word: os.environ[word] for word in HARMLESS if word in os.environ}
        ours["PATH"] = f"{self.folder / 'bin'}:{ours['PATH']}"
        ours["PROMPTYARD_HOME"] = str(self.folder / "home")
        own = SERVICES[name].get("environment", {})
        return ours | {key: self._here(name, str(value)) for key, value in own.items()}

    def _here(self, name: str, text: str) -> str:
        table = self.table(name)
        words = "|".join(re.escape(word) for word in sorted(table, key=len, reverse=True))
        return re.sub(words, lambda found: table[found[0]], text)

    def _stand_for_redis(self, path: Path) -> None:
        """A program of that name, on a port of its own."""
        path.parent.mkdir()
        port = self.ports["redis"]
        path.write_text(f'#!/bin/sh\nexec {find_program()} "$@" --port {port} --bind 127.0.0.1\n')
        path.chmod(0o755)
        client = shutil.which("redis-cli") or shutil.which("valkey-cli")
        answer = f'exec {client} -p {port} "$@"' if client else "echo PONG"
        path.with_name("redis-cli").write_text(f"#!/bin/sh\n{answer}\n")
        path.with_name("redis-cli").chmod(0o755)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """Every service, started in the file's order and healthy."""
    made = Here(tmp_path_factory.mktemp("compose"))
    try:
        for name in ("redis", *SERVICES):
            if name not in made.running:
                made.start(name)
            if name == "redis":  # all others wait for it, says the file
                wait_until(lambda: made.is_healthy("redis"), description="redis is healthy")
        for name in SERVICES:
            wait_until(
                lambda name=name: made.is_healthy(name),  # type: ignore[misc]
                description=f"{name} is healthy",
                timeout_s=START_S,
            )
        yield made
    finally:
        for child in made.running.values():
            child.kill()


@pytest.fixture(scope="module")
def producer(here: Here) -> Iterator[Producer]:
    """A producer on this machine, as the file's published port allows."""
    url = f"redis://:{SECRETS['redis_password']}@127.0.0.1:{here.ports['redis']}/0"
    with Producer(url) as made:
        yield made


@pytest.fixture(scope="module")
def job_ids(here: Here, producer: Producer) -> set[str]:
    """A batch, some of it routed and some for each tier; it has ended."""
    jobs = [Job(contents=f"Name a river, the {n}th. {QUICK}") for n in range(JOBS - 3)]
    jobs += [Job(contents=f"Say yes. {QUICK}", tier=tier) for tier in Tier]
    batch = producer.submit_batch(jobs)
    wait_until(
        lambda: producer.status(batch).state is BatchState.DONE, description="the batch is done"
    )
    results = list(producer.results(batch))
    assert all(result.ok for result in results), results
    return {result.id for result in results}


def test_the_exporter_tells_of_the_batch(here: Here, job_ids: set[str]) -> None:
    """And of one worker a queue."""
    found = scrape(here.url("exporter", "/metrics"), "state", "queue")
    assert found["promptyard_batches", "done", ""] == 1
    assert [found["promptyard_workers", "", queue] for queue in QUEUES] == [1, 1, 1, 1]


def test_each_worker_tells_of_its_jobs(here: Here, job_ids: set[str]) -> None:
    """All jobs succeeded somewhere; all but those with a tier were routed."""
    tiers = [scrape(here.url(tier, "/metrics"), "state") for tier in Tier]
    ended = [found["promptyard_jobs_total", "succeeded"] for found in tiers]
    assert sum(ended) == len(job_ids) == JOBS
    assert min(ended) >= 1
    routed = scrape(here.url("classify", "/metrics"))["promptyard_decisions_total",]
    assert routed == JOBS - len(Tier)


def test_flower_shows_workers_and_jobs(here: Here, job_ids: set[str]) -> None:
    """To who has the password."""
    user = SECRETS["flower_basic_auth"]
    assert get(here.url("flower", "/api/tasks"))[0] == 401
    assert get(here.url("flower", "/"))[0] == 401
    workers = get_json(here.url("flower", "/api/workers?refresh=1"), user=user)
    assert {name.partition("@")[0] for name in workers} == set(QUEUES)

    def seen() -> bool:
        shown: Mapping[str, Any] = get_json(here.url("flower", "/api/tasks"), user=user)
        return job_ids <= shown.keys()

    wait_until(seen, description="Flower has heard of every job")


def test_the_decision_log_is_on_stdout(here: Here, job_ids: set[str]) -> None:
    """A line for each job, in the output of the worker that ended it."""

    def logged() -> Mapping[str, Any]:
        lines = [json.loads(line) for line in here.log_text(*Tier).splitlines() if line[:1] == "{"]
        return {line["job_id"]: line for line in lines}

    wait_until(lambda: logged().keys() == job_ids, description="every job has its line")


def test_all_stop_within_their_grace(here: Here, job_ids: set[str]) -> None:
    """By SIGTERM, with exit code 0, and no output holds a secret; the last test of the module."""
    for name in [name for name in SERVICES if name != "redis"]:
        here.stop(name)
    here.stop("redis")
    said = here.log_text()
    for secret in SECRETS.values():
        assert secret not in said
    assert "Traceback" not in said
