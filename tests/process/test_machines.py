"""Machines that are cut off from all others, and come back: every job ends once."""

from __future__ import annotations

import hashlib
import json
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from promptyard.batch import Batch
from promptyard.child import Child, spawn
from promptyard.embedded import find_program
from promptyard.job import Job, JobState
from promptyard.names import CLASSIFY_QUEUE, QUEUES
from tests.conftest import wait_until
from tests.machines import Machine, Network, why_not
from tests.process.conftest import CONCURRENCY, START_S, Yard
from tests.process.test_recovery import RECOVERY_S, lite_jobs, losses
from tests.servers import serving

pytestmark = pytest.mark.process

#: Four leases: what a machine has in hand is taken over long before it is back.
CUT_S: Final = 20.0
LEASE_S: Final = 5.0
PORT: Final = 6379
PASSWORD: Final = "of-the-machines"
GENERATE_QUEUES: Final = tuple(name for name in QUEUES if name != CLASSIFY_QUEUE)

#: Submits a batch: the first window, "midway", and when the file is there the rest.
SUBMIT: Final = """
import pathlib, sys, time
from promptyard.job import Job
from promptyard.producer import Producer

def jobs(go_on):
    for number in range(1_000):
        if number == 700:
            print("midway", flush=True)
            while not go_on.exists():
                time.sleep(0.01)
        yield Job(id=f"submitted-{number}", contents=f"Is {number} odd?", tier="lite")

with Producer(sys.argv[1]) as producer:
    batch = producer.submit_batch(jobs(pathlib.Path(sys.argv[2])), batch_id="submitted")
print(batch.submitted, batch.existing)
"""


class FarSim:
    """A stand-in on a machine; each worker host has one of its own, so who called is known.

    Args:
        machine: where it runs.
        port: its TCP port.
        folder: for its log.
    """

    def __init__(self, machine: Machine, port: int, folder: Path) -> None:
        self.url = f"http://{machine.address}:{port}"
        where = ("--host", machine.address, "--port", str(port))
        with machine.here():
            self._child = spawn(
                f"sim-{port}",
                [sys.executable, "-m", "promptyard_worker.sim", *where, "--latency-scale", "0"],
                log=folder / f"sim-{port}.log",
            )

    def ready(self) -> None:
        """Wait until it answers."""
        wait_until(self._answers, description=f"{self.url} answers", timeout_s=START_S)

    def stats(self, *, prompts: bool = False) -> dict[str, Any]:
        """The counters, as ``GET /stats`` gives them."""
        query = "?prompts=1" if prompts else ""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.url}/stats{query}", timeout=RECOVERY_S) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def calls(self) -> Counter[str]:
        """Calls by prompt, each as ``digest`` names it."""
        by_prompt = self.stats(prompts=True)["by_prompt"]
        return Counter({name: counted["calls"] for name, counted in by_prompt.items()})

    def close(self) -> None:
        """End it."""
        self._child.stop(5)

    def _answers(self) -> bool:
        assert self._child.poll() is None, self._child.tail()
        try:
            return bool(self.stats())
        except OSError:
            return False


class Site:
    """The yard on its machines; the test itself sits at ``desk``, whose cable stays in.

    Args:
        network: of the machines.
        yard: what the workers share.
        sims: each worker host's stand-in.
    """

    def __init__(self, network: Network, yard: Yard, sims: dict[str, FarSim]) -> None:
        self.network = network
        self.yard = yard
        self.sims = sims

    def launch(self, host: str) -> tuple[Child, Child]:
        """Start a host's workers: one that classifies, one that calls."""
        environ = {"GOOGLE_GEMINI_BASE_URL": self.sims[host].url}
        with self.network[host].here():
            return (
                self.yard.launch(CLASSIFY_QUEUE, environ=environ),
                self.yard.launch(*GENERATE_QUEUES, environ=environ),
            )

    def produce(self, name: str, *words: str) -> Child:
        """Start a Python program on the producers' machine."""
        log = self.yard.folder / f"{name}.log"
        with self.network["producer"].here():
            return spawn(name, [sys.executable, *words], log=log, env=self.yard.environ)

    def give_up(self, machine: Machine) -> None:
        """Have Redis close a machine's connections, which it cannot be told of while it is cut."""
        for client in self.yard.raw.client_list():
            if client["addr"].startswith(f"{machine.address}:"):
                self.yard.raw.client_kill_filter(_id=client["id"])

    def in_flight(self, host: str) -> int:
        """Calls of a host that its stand-in is answering now."""
        found: int = self.sims[host].stats()["in_flight"]
        return found


@pytest.fixture(scope="module")
def machines() -> None:
    """Skip where none can be made."""
    if reason := why_not():
        pytest.skip(reason)


@pytest.fixture
def site(machines: None, tmp_path: Path) -> Iterator[Site]:
    """The machines with store and model on them, without workers yet."""
    with ExitStack() as stack:
        network = Network("desk", "store", "model", "producer", "host-a", "host-b")
        stack.enter_context(network)
        url = f"redis://:{PASSWORD}@{network['store'].address}:{PORT}/0"
        options = {"bind": network["store"].address, "port": str(PORT), "requirepass": PASSWORD}
        options |= {"appendonly": "yes", "appendfsync": "everysec"}
        with network["store"].here():
            stack.enter_context(serving(str(find_program()), url, tmp_path, options))
        hosts = {"host-a": 8001, "host-b": 8002}
        sims = {host: FarSim(network["model"], port, tmp_path) for host, port in hosts.items()}
        for sim in sims.values():
            stack.callback(sim.close)
        stack.enter_context(network["desk"].here())
        for sim in sims.values():
            sim.ready()
        yard = Yard(tmp_path, url, sims["host-b"], PROMPTYARD_LEASE_S=str(LEASE_S))
        stack.callback(yard.close)
        stack.callback(network.join)  # else, after a failure, its workers could not end
        yield Site(network, yard, sims)
        yard.check_invariants()


def digest(job: Job) -> str:
    """A prompt's name in the stand-in's counters."""
    return hashlib.sha256(job.text.encode()).hexdigest()[:16]


def mixed_jobs(count: int, latency_s: float) -> list[Job]:
    """Half of them need a classify worker."""
    wait = f"[[sim: latency={latency_s:g}s]]"
    songs = [Job(contents=f"Write song {n}. {wait}") for n in range(count // 2)]
    return [*songs, *lite_jobs(count - len(songs), wait)]


def test_a_worker_host_that_is_cut_off_comes_back(site: Site) -> None:
    """For 20 s, with calls in flight: the other host takes over what it has in hand, no more."""
    yard, host = site.yard, site.network["host-a"]
    cut_off, stayed = site.launch("host-a"), site.launch("host-b")
    yard.ready(*cut_off, *stayed)
    work = mixed_jobs(120, latency_s=2)
    batch = yard.producer.submit_batch(work)
    wait_until(
        lambda: all(site.in_flight(name) == CONCURRENCY for name in site.sims),
        description="both hosts are busy",
    )
    host.cut()
    back_s = time.monotonic() + CUT_S
    held = site.in_flight("host-a")
    before = site.sims["host-a"].calls()
    wait_until(
        lambda: time.monotonic() > back_s and yard.producer.status(batch).retries >= held > 0,
        description="the other host has taken over",
        timeout_s=CUT_S + RECOVERY_S,
    )
    assert site.sims["host-a"].calls() == before, "it was not cut off"
    host.join()
    yard.finish(batch, timeout_s=2 * RECOVERY_S)
    results = {result.id: result for result in yard.producer.results(batch)}
    assert all(result.ok for result in results.values())
    calls = site.sims["host-a"].calls() + site.sims["host-b"].calls()
    assert set(calls) == {digest(job) for job in work}
    twice = {name for name, count in calls.items() if count != 1}
    assert all(calls[name] == 2 and before[name] == 1 for name in twice)
    lost = {digest(job) for job in work if losses(results[job.id])}
    assert twice <= lost
    assert held <= len(twice) <= len(lost) <= CONCURRENCY
    wait_until(
        lambda: paid_calls(yard, batch) == calls.total(),
        description="answers that came late are dropped, but not their bill",
        timeout_s=RECOVERY_S,
    )
    expect_at_work(site, cut_off, without=stayed)


def paid_calls(yard: Yard, batch: Batch) -> int:
    """Calls on the batch's records that have been billed."""
    attempts = [one for result in yard.producer.results(batch) for one in result.attempts]
    return sum(one.cost_usd > 0 for one in attempts)


def expect_at_work(site: Site, workers: tuple[Child, Child], *, without: tuple[Child, ...]) -> None:
    """Workers that were cut off do a batch alone, without having been started again."""
    site.yard.ready(*workers)
    site.yard.end(*without)
    batch = site.yard.producer.submit_batch(mixed_jobs(20, latency_s=0.1))
    status = site.yard.finish(batch, timeout_s=RECOVERY_S)
    assert status.counts[JobState.SUCCEEDED] == 20


def test_a_producer_that_is_cut_off_goes_on(site: Site) -> None:
    """In the middle of `submit` and `follow`; Redis has given its connections up meanwhile."""
    yard, machine = site.yard, site.network["producer"]
    yard.ready(*site.launch("host-a"))
    work = lite_jobs(40, "[[sim: latency=1s]]")
    followed = yard.producer.submit_batch(work)
    follow = site.produce("follow", "-m", "promptyard", "follow", followed.id)
    go_on = yard.folder / "go-on"
    submit_words = ("-c", SUBMIT, yard.url, str(go_on))
    submit = site.produce("submit", *submit_words)
    wait_until(
        lambda: told(follow) and "midway" in submit.log.read_text(),
        description="both are in the middle",
        timeout_s=START_S,
    )
    machine.cut()
    go_on.touch()
    yard.finish(followed)
    seen = told(follow)
    assert len(seen) < len(work), "it was not cut off"
    assert yard.producer.status("submitted").total < 1_000
    site.give_up(machine)
    machine.join()
    for child in (follow, submit):
        assert child.wait(2 * RECOVERY_S), child.tail()
        assert child.poll() == 0, child.tail()
    assert sorted(told(follow)) == sorted(job.id for job in work)
    again = site.produce("submit-again", *submit_words)
    assert again.wait(START_S)
    assert again.log.read_text().split() == ["midway", "0", "1000"]
    yard.finish("submitted")
    assert set(site.sims["host-a"].calls().values()) == {1}


def told(follow: Child) -> list[str]:
    """Ids of the jobs whose results `follow` has printed, whole lines only."""
    lines = follow.log.read_text().splitlines(keepends=True)
    return [json.loads(line)["id"] for line in lines if line.endswith("\n")]
