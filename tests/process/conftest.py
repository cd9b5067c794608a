"""A yard for tests: real worker processes, a Valkey of their own, and the stand-in."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import pytest
import redis
import yaml

from promptyard.batch import Batch, BatchState, BatchStatus
from promptyard.child import Child, spawn
from promptyard.embedded import EmbeddedServer, find_program
from promptyard.job import Job, JobResult
from promptyard.names import QUEUES
from promptyard.producer import Producer
from promptyard.store import Store, batches, keys
from promptyard_worker.sim.config import SimConfig
from promptyard_worker.sim.profile import DEFAULT_MODELS
from promptyard_worker.sim.server import SimServer
from tests.conftest import leaked_keys, wait_until

ROOT: Final = Path(__file__).resolve().parents[2]
#: A key that looks like Google's; no log, key name or record may hold it.
MARKED_KEY: Final = "AIzaSyMarkedKeyOfTheTests0123456789abcd"
#: A lite model with little patience: for tests of timeouts, without hurrying the others.
HASTY_MODEL: Final = "gemini-2.5-flash-lite-hasty"
HASTY_TIMEOUT_S: Final = 0.5
#: Calls a worker of the yard makes at once.
CONCURRENCY: Final = 8
START_S: Final = 60.0
STOP_S: Final = 30.0
#: kombu's own: messages taken and not acknowledged.
UNACKED: Final = "unacked"


def write_router(path: Path, **changes: Any) -> Path:
    """The repository's router file, with retries after moments instead of seconds.

    The breakers stay closed: the tests' calls fail on purpose. ``changes`` replace whole keys.
    """
    policy: dict[str, Any] = yaml.safe_load((ROOT / "router.yaml").read_text())
    policy["retry"] |= {"base_delay_s": 0.05, "max_delay_s": 0.2}
    policy["breaker"] = {"min_calls": 100_000}
    policy |= changes
    hasty = {**policy["models"]["gemini-2.5-flash-lite"], "timeout_s": HASTY_TIMEOUT_S}
    policy["models"][HASTY_MODEL] = hasty
    path.write_text(yaml.safe_dump(policy, allow_unicode=True))
    return path


class StandIn(Protocol):
    """What answers a yard's calls: in this process, or on another machine."""

    @property
    def url(self) -> str:
        """The base URL."""

    def stats(self, *, prompts: bool = False) -> dict[str, Any]:
        """Its counters."""


class Yard:
    """Workers that a test starts, stops and kills; and what they share.

    Args:
        folder: for the logs and the router file.
        url: Redis of the yard.
        sim: answers the workers' calls.
        policy: keys of the router file that differ from the repository's.
        environ: more of the workers' environment.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        sim: StandIn,
        *,
        policy: Mapping[str, Any] | None = None,
        **environ: str,
    ) -> None:
        self.folder = folder
        self.url = url
        self.sim = sim
        self.producer = Producer(url)
        self.store = Store(url)
        self.raw: redis.Redis = redis.Redis.from_url(url)
        self._workers: list[Child] = []
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GEMINI", "GOOGLE", "REDIS", "PROMPTYARD"))
        }
        self._environ = {
            **kept,
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "REDIS_URL": url,
            "PROMPTYARD_ROUTER": str(write_router(folder / "router.yaml", **(policy or {}))),
            "GOOGLE_GEMINI_BASE_URL": sim.url,
            "GEMINI_API_KEY": MARKED_KEY,
            **environ,
        }

    @property
    def environ(self) -> dict[str, str]:
        """Of its workers; for other commands beside them."""
        return dict(self._environ)

    def limit(self, model: str, **quota: int) -> None:
        """Give a model a quota in the router file."""
        path = self.folder / "router.yaml"
        policy = yaml.safe_load(path.read_text())
        policy["models"][model]["quota"] = quota
        path.write_text(yaml.safe_dump(policy, allow_unicode=True))

    def launch(
        self,
        *queues: str,
        concurrency: int = CONCURRENCY,
        log_level: str = "WARNING",
        drain_s: float = 60,
        environ: Mapping[str, str] | None = None,
        flags: Iterable[str] = (),
    ) -> Child:
        """Start a worker; all queues if none is named. ``ready`` waits for it."""
        name = f"worker-{len(self._workers)}-{'+'.join(queues or ('all',))}"
        argv = [sys.executable, "-m", "promptyard_worker.worker", *(queues or QUEUES)]
        child = spawn(
            name,
            [
                *argv,
                *("--concurrency", str(concurrency)),
                *("--loglevel", log_level),
                *("--drain", str(drain_s)),
                *flags,
            ],
            log=self.folder / f"{name}.log",
            env={**self._environ, **(environ or {})},
        )
        self._workers.append(child)
        return child

    def beside(self, *words: str, **environ: str) -> Child:
        """Start another of our commands beside the workers."""
        child = spawn(
            words[0],
            [sys.executable, "-m", "promptyard", *words],
            log=self.folder / f"{words[0]}.log",
            env={**self._environ, **environ},
        )
        self._workers.append(child)
        return child

    def start(self, *queues: str, **options: Any) -> Child:
        """Start a worker and wait until it takes jobs."""
        child = self.launch(*queues, **options)
        self.ready(child)
        return child

    def ready(self, *workers: Child) -> None:
        """Wait until the workers have shown themselves."""

        def shown() -> bool:
            for worker in workers:
                assert worker.poll() is None, f"{worker.name} ended:\n{worker.tail()}"
            pids = {card.pid for card in self.producer.workers()}
            return {worker.pid for worker in workers} <= pids

        names = ", ".join(worker.name for worker in workers)
        wait_until(shown, description=f"{names} at work", timeout_s=START_S)

    def end(self, *workers: Child, unruffled: bool = True) -> None:
        """SIGTERM: each finishes its calls and exits with 0.

        ``unruffled``: and no log holds a traceback (Celery writes some when Redis dies).
        """
        for worker in workers:
            worker.terminate()
        for worker in workers:
            assert worker.wait(STOP_S), f"{worker.name} does not end:\n{worker.tail()}"
        for worker in workers:
            assert worker.poll() == 0, f"{worker.name}:\n{worker.tail(40)}"
            if unruffled:
                assert "Traceback" not in worker.log.read_text(), worker.log.read_text()

    def close(self, *, unruffled: bool = True) -> None:
        """End what still runs, and see that it ended well."""
        running = [worker for worker in self._workers if worker.poll() is None]
        try:
            self.end(*running, unruffled=unruffled)
        finally:
            for worker in self._workers:
                worker.kill()
            self.producer.close()
            self.store.close()
            self.raw.close()

    def log_text(self) -> str:
        """All that the workers said."""
        return "\n".join(worker.log.read_text() for worker in self._workers)

    def finish(self, batch: Batch | str, *, timeout_s: float = 30.0) -> BatchStatus:
        """Wait until every job of the batch has ended."""
        last: list[BatchStatus] = []

        def done() -> bool:
            last[:] = [self.producer.status(batch)]
            return last[0].state is BatchState.DONE

        try:
            wait_until(done, description=f"batch {batch} is done", timeout_s=timeout_s)
        except pytest.fail.Exception as error:
            pytest.fail(f"{error.msg}\n{last}\n{self._unfinished(str(batch))}\n{self.log_text()}")
        return last[0]

    def run(self, jobs: Iterable[Job | str], *, timeout_s: float = 30.0) -> dict[str, JobResult]:
        """Submit a batch, wait for its end; results by job id."""
        batch = self.producer.submit_batch(jobs)
        self.finish(batch, timeout_s=timeout_s)
        return {result.id: result for result in self.producer.results(batch)}

    def run_one(self, job: Job | str, *, timeout_s: float = 30.0) -> JobResult:
        """One job as a batch of its own."""
        (result,) = self.run([job], timeout_s=timeout_s).values()
        return result

    def calls(self, prompt: str) -> int:
        """How many calls of this prompt the stand-in has counted."""
        by_prompt: dict[str, dict[str, int]] = self.sim.stats(prompts=True)["by_prompt"]
        key = hashlib.sha256(prompt.encode()).hexdigest()[:16]
        return by_prompt.get(key, {"calls": 0})["calls"]

    def job_ids(self, batch: Batch | str) -> list[str]:
        """The batch's job ids in submission order."""
        return self.store.do(batches.batch_jobs(str(batch), 0, 100_000))

    def is_idle(self) -> bool:
        """Whether no message waits or is held, and no lease is out."""
        waiting = [self.raw.llen(keys.queue(name, level)) for name in QUEUES for level in range(10)]
        return not any(waiting) and not self.raw.hlen(UNACKED) and not self.raw.zcard(keys.LEASES)

    def check_invariants(self) -> None:
        """What holds of every batch that has ended, and of every key."""
        for status in self.producer.batches():
            if status.state is BatchState.DONE:
                ended = [entry for _, entry in self._stream(status.id)]
                assert sorted(ended) == sorted(self.job_ids(status.id)), "lost or told twice"
                assert status.finished == status.total == len(ended)
                counted = {state: n for state, n in status.counts.items() if n}
                found = [result.status for result in self.producer.results(status.id)]
                assert counted == {state: found.count(state) for state in set(found)}
        # a worker's first card is a moment older than its TTL
        wait_until(lambda: not leaked_keys(self.raw), description="every key has a TTL")

    def _stream(self, batch_id: str) -> list[tuple[str, str]]:
        page = batches.results_page(batch_id, "0-0", count=100_000, block_ms=None)
        return self.store.do(page)

    def _unfinished(self, batch_id: str) -> str:
        rows = []
        for job_id in self.job_ids(batch_id):
            record = self.raw.hgetall(keys.job(job_id))
            if b"finished" not in record:
                rows.append(f"{job_id}: {record}")
        return "\n".join(rows[:5])


@contextmanager
def checked(yard: Yard, *, unruffled: bool = True) -> Iterator[Yard]:
    """A yard for the time of a test: at its end its invariants hold, and its workers end well."""
    try:
        yield yard
        yard.check_invariants()
    finally:
        yard.close(unruffled=unruffled)


class RestartableServer:
    """A Valkey on a port of its own, with AOF, that is killed and comes back."""

    def __init__(self, folder: Path, *, appendfsync: str = "everysec") -> None:
        # an embedded server finds the free port and leaves the empty data folder
        with EmbeddedServer(folder) as first:
            self.url = first.url
        self._data = folder / "valkey"
        self._appendfsync = appendfsync
        self._child: Child | None = None
        self.start()

    def start(self) -> None:
        """Start it on its port and data."""
        port = self.url.rsplit(":", 1)[1].split("/", maxsplit=1)[0]
        options = {"bind": "127.0.0.1", "port": port, "dir": str(self._data), "save": ""}
        options |= {"appendonly": "yes", "appendfsync": self._appendfsync}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        program = str(find_program())
        self._child = spawn("valkey", [program, *words], log=self._data / "restarts.log")
        with redis.Redis.from_url(self.url) as client:
            wait_until(lambda: _answers(client), description="Valkey answers")

    def kill(self) -> None:
        """SIGKILL."""
        if self._child is not None:
            self._child.kill()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def new_sim(port: int = 0, **options: Any) -> SimServer:
    """A stand-in that answers at once, and knows the hasty model."""
    config = SimConfig(latency_scale=0, models=(*DEFAULT_MODELS, HASTY_MODEL), **options)
    return SimServer(config, port=port)


def kill(worker: Child) -> None:
    """SIGKILL for a worker and all it started."""
    worker.kill()
    assert worker.poll() == -signal.SIGKILL


@pytest.fixture(scope="package")
def sim_server() -> Iterator[SimServer]:
    """One stand-in for the package."""
    with new_sim() as server:
        yield server


@pytest.fixture
def sim(sim_server: SimServer) -> SimServer:
    """The stand-in with its counters at zero."""
    sim_server.reset()
    return sim_server


@pytest.fixture(scope="package")
def shared_yard(sim_server: SimServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    """One worker a queue, as ``promptyard up`` starts them, for all tests that kill none."""
    folder = tmp_path_factory.mktemp("yard")
    with EmbeddedServer(folder, persist=False) as server:
        made = Yard(folder, server.url, sim_server)
        try:
            made.ready(*[made.launch(queue) for queue in QUEUES])
            yield made
        finally:
            made.close()


@pytest.fixture
def yard(shared_yard: Yard, sim: SimServer) -> Iterator[Yard]:
    """The shared workers; afterwards the invariants must hold."""
    yield shared_yard
    shared_yard.check_invariants()


@pytest.fixture
def own_yard(tmp_path: Path, sim: SimServer) -> Iterator[Yard]:
    """A yard without workers yet, with short leases, for tests that kill."""
    with EmbeddedServer(tmp_path, persist=False) as server:
        made = Yard(tmp_path, server.url, sim, PROMPTYARD_LEASE_S="2")
        with checked(made):
            yield made
