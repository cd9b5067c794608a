"""What must not be seen is seen nowhere, and nobody else is let in.

One yard for all: a Redis with a password, workers that say all they can (DEBUG), Flower, exporter.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from promptyard import AsyncProducer, Producer
from promptyard.child import Child
from promptyard.embedded import find_program
from promptyard.errors import StoreError
from promptyard.job import Job
from promptyard.names import Tier
from promptyard.settings import Settings
from promptyard.store import AsyncStore, Store
from promptyard_worker.celery_app import create_app
from promptyard_worker.sim.server import SimServer
from tests.conftest import wait_until
from tests.process.conftest import MARKED_KEY, START_S, Yard, new_sim
from tests.servers import free_port, serving
from tests.web import get, get_json

pytestmark = pytest.mark.process

PASSWORD: Final = "Zq7MarkedRedisPassword"
FLOWER_PASSWORD: Final = "Zq7MarkedFlowerPassword"
PROMPT: Final = "Zq7MarkedPrompt"
SYSTEM: Final = "Zq7MarkedInstruction"
SECRETS: Final = (MARKED_KEY, PASSWORD, FLOWER_PASSWORD)
USER: Final = f"team:{FLOWER_PASSWORD}"
#: Answers that do not repeat their prompt, as the stand-in's else do.
ANSWER: Final = '[[sim: answer="done"]]'


@dataclass
class Watched:
    """A yard, and where it tells of itself."""

    yard: Yard
    children: dict[str, Child]
    #: Ports of metrics and Flower.
    ports: dict[str, int]
    batch: str = ""

    @property
    def folder(self) -> Path:
        """Of logs and files."""
        return self.yard.folder

    def url(self, name: str, path: str = "/metrics") -> str:
        """Of a server."""
        return f"http://127.0.0.1:{self.ports[name]}{path}"

    def command(self, *words: str) -> str:
        """What a command prints."""
        ran = subprocess.run(
            [sys.executable, "-m", "promptyard", *words],
            env=self.yard.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=START_S,
        )
        assert ran.returncode in (0, 1), ran.stderr
        return ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def sim() -> Iterator[SimServer]:
    """A stand-in that wants the key."""
    with new_sim(api_key=MARKED_KEY) as server:
        yield server


@pytest.fixture(scope="module")
def watched(sim: SimServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Everything that runs in a yard; lite's decision log has prompts, the others' has none."""
    folder = tmp_path_factory.mktemp("security")
    ports = {name: free_port() for name in ("redis", "main", "lite", "exporter", "flower")}
    url = f"redis://:{PASSWORD}@127.0.0.1:{ports['redis']}/0"
    options = {"port": str(ports["redis"]), "requirepass": PASSWORD}
    with serving(str(find_program()), url, folder, options):
        yard = Yard(folder, url, sim, FLOWER_BASIC_AUTH=USER)
        try:
            children = {
                "main": start(yard, ports["main"], "classify", "pro", "flash", log="plain.jsonl"),
                "lite": start(yard, ports["lite"], "lite", log="prompts.jsonl", log_prompts="1"),
                "exporter": yard.beside("exporter", "--port", str(ports["exporter"])),
                "flower": yard.beside("flower", "--port", str(ports["flower"])),
            }
            made = Watched(yard, children, ports)
            yard.ready(children["main"], children["lite"])
            for name, path in (("exporter", "/metrics"), ("flower", "/healthcheck")):
                wait_until(
                    lambda name=name, path=path: get(made.url(name, path))[0] == 200,  # type: ignore[misc]
                    description=f"{name} answers",
                    timeout_s=START_S,
                )
            made.batch = run_marked(made)
            yield made
        finally:
            yard.close()


def start(yard: Yard, port: int, *queues: str, log: str, log_prompts: str = "") -> Child:
    """A worker that tells all it may."""
    return yard.launch(
        *queues,
        log_level="DEBUG",
        flags=["--events", "--metrics-port", str(port)],
        environ={
            "PROMPTYARD_DECISION_LOG": str(yard.folder / log),
            "PROMPTYARD_LOG_PROMPTS": log_prompts,
        },
    )


def run_marked(watched: Watched) -> str:
    """A batch through ``promptyard run``: good and bad ends, retries, repairs, long prompts."""
    endings = ["", "[[sim: 503 x1]]", "[[sim: 400]]", "[[sim: safety]]", "[[sim: empty x1]]"]
    jobs = [
        Job(contents=f"{PROMPT} {n} {ending} {ANSWER}", system_instruction=SYSTEM, tier=tier)
        for n, ending in enumerate(endings)
        for tier in (None, Tier.PRO, Tier.LITE)
    ]
    jobs.append(Job(contents=f"{PROMPT} {'long ' * 1000} {ANSWER}"))
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    jobs.append(Job(contents=f"{PROMPT} {ANSWER}", response_schema=schema, tier=Tier.FLASH))
    lines = [job.model_dump_json(exclude={"id"}, exclude_none=True) for job in jobs]
    (watched.folder / "in.jsonl").write_text("\n".join(lines))
    said = watched.command("run", "in.jsonl", "-o", "out.jsonl", "--json")
    return str(json.loads(said.splitlines()[0])["batch_id"])


def pages(watched: Watched) -> dict[str, str]:
    """Every page of Flower, and its API."""
    tasks = get_json(watched.url("flower", "/api/tasks"), user=USER)
    workers = get_json(watched.url("flower", "/api/workers?refresh=1"), user=USER)
    assert len(workers) == 2
    paths = ["/", "/tasks", "/broker", "/metrics", "/api/queues/length", "/api/task/types"]
    paths += [f"/task/{name}" for name in tasks] + [f"/api/task/info/{name}" for name in tasks]
    paths += [f"/api/task/result/{name}" for name in tasks]
    paths += [f"/worker/{name}" for name in workers]
    found = {path: get(watched.url("flower", path), user=USER)[1] for path in paths}
    return {**found, "tasks": json.dumps(tasks), "workers": json.dumps(workers)}


def all_that_is_told(watched: Watched) -> dict[str, str]:
    """Everything that others may come to read, by where it stands."""
    told = {f"log of {name}": child.log.read_text() for name, child in watched.children.items()}
    told |= {f"flower {path}": text for path, text in pages(watched).items()}
    told |= {
        f"metrics of {name}": get(watched.url(name))[1] for name in ("main", "lite", "exporter")
    }
    batch = watched.batch
    for words in (
        ["status"],
        ["status", batch],
        ["failed", batch],
        ["failed", batch, "--json"],
        ["results", batch],
        ["doctor"],
        ["top", "--once"],
        ["report", batch, "--text"],
        ["report", batch],
    ):
        told[" ".join(words)] = watched.command(*words)
    told["report.html"] = (watched.folder / "report.html").read_text()
    told["out.jsonl"] = (watched.folder / "out.jsonl").read_text()
    told["plain.jsonl"] = (watched.folder / "plain.jsonl").read_text()
    for name, child in watched.children.items():  # what `ps` shows to every user
        told[f"command line of {name}"] = Path(f"/proc/{child.pid}/cmdline").read_text()
    return told


def test_no_secret_and_no_prompt_is_told(watched: Watched) -> None:
    """Keys, passwords, prompts, system instructions: in no log, page, metric, report or result."""
    told = all_that_is_told(watched)
    assert [name for name, text in told.items() if not text and "/result/" not in name] == []
    for where, text in told.items():
        for mark in (*SECRETS, PROMPT, SYSTEM):
            assert mark not in text, f"{mark} in {where}"


def test_prompts_are_where_they_were_asked_for(watched: Watched) -> None:
    """In the decision log of the worker with PROMPTYARD_LOG_PROMPTS, in a report with --prompts."""
    lines = (watched.folder / "prompts.jsonl").read_text().splitlines()
    assert lines
    assert all(PROMPT in json.loads(line)["prompt"] for line in lines)
    assert not any(secret in line for secret in SECRETS for line in lines)
    assert PROMPT in watched.command("report", watched.batch, "--text", "--prompts")


def test_redis_holds_no_secret(watched: Watched) -> None:
    """Jobs are in it, keys and passwords are not."""
    raw = watched.yard.raw
    dumps = [raw.dump(key) or b"" for key in raw.scan_iter()]
    assert len(dumps) > 20
    assert not any(secret.encode() in dump for secret in SECRETS for dump in dumps)


def test_no_repr_and_no_error_has_the_password(watched: Watched) -> None:
    """Of what holds it; of a server that refuses it, or is away."""
    url = watched.yard.url
    app = create_app(url)
    told = [repr(Settings.from_env({"REDIS_URL": url})), repr(app), app.conf.humanize()]
    told += [str(app.connection()), repr(app.connection())]
    with Producer(url) as producer:
        told += [repr(producer), repr(Store(url)), repr(AsyncStore(url)), repr(AsyncProducer(url))]
    for wrong in (url.replace(PASSWORD, f"{PASSWORD}x"), f"redis://:{PASSWORD}@127.0.0.1:1/0"):
        with Producer(wrong) as producer, pytest.raises(StoreError) as caught:
            producer.batches()
        told += [str(caught.value), repr(caught.value)]
    app.close()
    assert not [text for text in told if PASSWORD in text]


def listening(pid: int) -> set[str]:
    """Addresses a process listens at, as the kernel writes them."""
    sockets, found = set(), set()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            sockets.add(str(handle.readlink()))
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == "0A" and f"socket:[{rest[5]}]" in sockets:
                found.add(local.partition(":")[0])
    return found


LOOPBACK: Final = "0100007F"
EVERYBODY: Final = "00000000"


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="no /proc here")
def test_nobody_else_can_connect(watched: Watched) -> None:
    """Workers' metrics, exporter and Flower are on loopback; at all addresses only where told."""
    for child in watched.children.values():
        assert listening(child.pid) == {LOOPBACK}, child.name
    told = watched.yard.start(
        "lite",
        flags=["--metrics-port", str(free_port())],
        environ={"PROMPTYARD_METRICS_HOST": "0.0.0.0"},
    )
    assert listening(told.pid) == {EVERYBODY}
    watched.yard.end(told)
