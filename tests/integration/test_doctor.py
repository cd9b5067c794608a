"""What keeps a yard from working, found on a real Valkey; each finding has its remedy."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from promptyard.batch import Batch
from promptyard.catalog import Catalog, ModelCard, Price
from promptyard.cli.doctor.examination import examine
from promptyard.cli.doctor.finding import Finding
from promptyard.embedded import EmbeddedServer
from promptyard.errors import RouterFileError, SettingsError
from promptyard.job import Attempt, Job, Usage
from promptyard.names import QUEUES, Tier
from promptyard.producer import Producer
from promptyard.settings import Settings
from promptyard.store import Store, fleet, jobs, keys, quota, running
from promptyard.store.presence import WorkerCard
from promptyard.version import __version__
from promptyard_worker.checks import check_gemini, check_router_file
from promptyard_worker.sim.config import SimConfig
from promptyard_worker.sim.server import SimServer
from tests.integration.test_control import MODEL
from tests.integration.test_model_health import granted, limits
from tests.integration.test_store import ENDING, RETENTION_S, in_hand

ROUTER = Path(__file__).resolve().parents[2] / "router.yaml"


def findings(url: str) -> dict[str, Finding]:
    """Of the whole examination, by subject."""
    settings = Settings.from_env({"REDIS_URL": url})
    return {finding.subject: finding for finding in examine(settings)}


def publish(store: Store, **of: Any) -> None:
    """One lite model that is so."""
    card = ModelCard(tier=Tier.LITE, price=Price(input=1, output=2), **of)
    catalog = Catalog(policy_version="1", tier_models={Tier.LITE: MODEL}, models={MODEL: card})
    store.do(fleet.put_catalog(catalog, retention_s=RETENTION_S))


def show_worker(store: Store, name: str = "lite@a", **of: Any) -> None:
    """A worker that takes from every queue, unless it is told otherwise."""
    seen = datetime.fromtimestamp(store.do(jobs.time_s()), UTC)
    card: dict[str, Any] = {
        "name": name,
        "queues": QUEUES,
        "concurrency": 8,
        "pid": 1,
        "host": "a",
        "version": __version__,
        "policy_version": "1",
        "started": seen,
        "seen": seen,
        "clock_ahead_s": 0.001,
        "visibility_timeout_s": 3600.0,
    }
    store.do_many([fleet.put_card(WorkerCard.model_validate(card | of)), fleet.keep_cards()])


def call_of_late(store: Store, batch_id: str, *, duration_s: float, tokens: int = 100) -> None:
    """A job that was answered by one call."""
    job_id, token = in_hand(store, batch_id)
    attempt = Attempt(
        model=MODEL,
        started=datetime.now(UTC),
        duration_s=duration_s,
        usage=Usage(prompt_tokens=tokens),
    )
    ended = running.record(job_id, token, ENDING, attempts=[attempt], retention_s=RETENTION_S)
    assert store.do(ended)


def test_a_yard_that_is_well(redis_url: str, store: Store) -> None:
    """Every finding is fine, but for what the test's server and this machine lack."""
    publish(store, rpm=100, timeout_s=60)
    show_worker(store)
    found = findings(redis_url)
    poor = {subject for subject, finding in found.items() if finding.verdict != "ok"}
    assert poor == {"persistence", "key"}
    assert all(found[subject].remedy for subject in poor)
    assert {"clocks", "versions", "visibility", "slots", "models", "queue lite"} <= set(found)
    assert "queue pro" not in found, "the router file has no such tier"


def test_a_server_that_evicts(tmp_path: Path) -> None:
    """It would throw jobs away when it is full."""
    with EmbeddedServer(tmp_path, persist=False) as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        found = findings(server.url)["eviction"]
    assert found.verdict == "fail"
    assert "noeviction" in found.remedy


def test_a_queue_that_nobody_consumes(redis_url: str, producer: Producer, store: Store) -> None:
    """A warning, and a failure once jobs wait in it."""
    publish(store)
    show_worker(store, queues=("classify",))
    assert findings(redis_url)["queue lite"].verdict == "warn"
    producer.submit_batch([Job(contents="x", tier=Tier.LITE) for _ in range(3)])
    found = findings(redis_url)["queue lite"]
    assert (found.verdict, found.detail) == ("fail", "nobody consumes it, 3 jobs waiting")
    assert "promptyard worker lite" in found.remedy


def test_clocks_that_disagree(redis_url: str, store: Store) -> None:
    """Told by host, with the direction; what differs from all others is set."""
    show_worker(store, "lite@a", host="a", clock_ahead_s=0.2)
    show_worker(store, "lite@b", host="b", clock_ahead_s=-90.0)
    found = findings(redis_url)["clocks"]
    assert (found.verdict, found.detail) == ("warn", "b is 1 min 30 s behind Redis")
    assert found.remedy.startswith("set them by NTP")


def test_a_worker_of_an_older_version_tells_no_clock(redis_url: str, store: Store) -> None:
    """Nothing is said of what is not known."""
    show_worker(store, clock_ahead_s=None, visibility_timeout_s=None)
    found = findings(redis_url)
    assert found["clocks"].verdict == "ok"
    assert "visibility" not in found


def test_a_call_longer_than_the_visibility_timeout(redis_url: str, store: Store) -> None:
    """Celery would deliver its message again while it is made."""
    publish(store, timeout_s=7200)
    show_worker(store)
    found = findings(redis_url)["visibility"]
    assert found.verdict == "warn"
    assert "2 h 00 min" in found.detail
    assert f"timeout_s of {MODEL}" in found.remedy


def test_a_quota_above_what_429s_show(redis_url: str, store: Store) -> None:
    """The part that is left."""
    publish(store, rpm=100)
    show_worker(store)
    *_, (_, last) = granted(store, [100] * 60)
    store.do(quota.refuse(limits(), kind="rpm", ticket=last.ticket, retry_after_s=0.0, random=0))
    found = findings(redis_url)[MODEL]
    assert found.verdict == "warn"
    assert "59% of its quota" in found.detail
    assert "lower its rpm or tpm" in found.remedy


@pytest.mark.parametrize(
    ("model", "concurrency", "detail", "remedy"),
    [
        ({"rpm": 120}, 12, "", ""),
        ({"rpm": 1200}, 8, "8 slots at 6.00 s a call make 80 calls", "--concurrency 120"),
        ({"rpm": 1200, "tpm": 10_000}, 10, "", ""),  # 100 calls a minute of 100 tokens
        ({"rpm": 1200, "max_concurrency": 10}, 120, "10 slots", "max_concurrency in router.yaml"),
        ({}, 1, "", ""),
    ],
    ids=["enough", "slots", "tokens", "max_concurrency", "no quota"],
)
def test_slots_that_cannot_reach_the_quota(
    redis_url: str,
    producer: Producer,
    store: Store,
    model: dict[str, int],
    concurrency: int,
    detail: str,
    remedy: str,
) -> None:
    """Calls in flight = calls a second times seconds a call, as they were of late."""
    publish(store, **model)
    show_worker(store, concurrency=concurrency)
    batch_id = producer.open_batch()
    for _ in range(20):
        call_of_late(store, batch_id, duration_s=6.0)
    found = findings(redis_url).get(f"slots of {MODEL}")
    assert (found.verdict if found else "ok") == ("warn" if detail else "ok")
    if found is not None:
        assert detail in found.detail
        assert remedy in found.remedy


def test_few_calls_say_nothing_of_slots(redis_url: str, producer: Producer, store: Store) -> None:
    """A single slow call is no latency."""
    publish(store, rpm=1200)
    show_worker(store, concurrency=1)
    call_of_late(store, producer.open_batch(), duration_s=60.0)
    assert "not judged" in findings(redis_url)["slots"].detail


def test_versions_that_differ(
    redis_url: str, producer: Producer, store: Store, raw: redis.Redis
) -> None:
    """Of a worker, and of whoever opened a batch."""
    assert findings(redis_url)["versions"].verdict == "ok"
    show_worker(store, "lite@old", version="0.0.9")
    batch: Batch = producer.submit_batch(["x"])
    raw.hset(keys.batch(batch.id), "version", "9.9.9")
    found = findings(redis_url)["versions"]
    assert found.verdict == "warn"
    assert f"{__version__}: this machine" in found.detail
    assert "0.0.9: lite@old" in found.detail
    assert f"9.9.9: producer of batch {batch.id}" in found.detail
    assert "CHANGELOG.md" in found.remedy


def test_workers_of_two_router_files(redis_url: str, store: Store) -> None:
    """One of them refused the new file, or has not got it."""
    show_worker(store, "lite@a")
    assert "router files" not in findings(redis_url)
    show_worker(store, "lite@b", policy_version="2")
    found = findings(redis_url)["router files"]
    assert (found.verdict, found.detail) == ("warn", "1: lite@a; 2: lite@b")


def test_a_router_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Named, with the line."""
    path = tmp_path / "router.yaml"
    path.write_text("models: [")
    with pytest.raises(RouterFileError, match=r"router\.yaml"):
        check_router_file(Settings(router_file=path))
    assert "policy" in check_router_file(Settings(router_file=ROUTER))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No credentials but the test's."""
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_the_api_is_asked_for_the_models(asked: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A key that it takes, one that it refuses, a model that it does not know."""
    settings = Settings(router_file=ROUTER)
    assert check_gemini(settings) == "not asked: there is no key"
    with SimServer(SimConfig(api_key="right")) as sim:
        asked.setenv("GOOGLE_GEMINI_BASE_URL", sim.url)
        asked.setenv("GEMINI_API_KEY", "right")
        assert "takes the key" in check_gemini(settings)
        other = tmp_path / "router.yaml"
        other.write_text(ROUTER.read_text().replace("gemini-2.5-pro", "gemini-99-pro"))
        with pytest.raises(SettingsError, match="does not know gemini-99-pro"):
            check_gemini(Settings(router_file=other))
        asked.setenv("GEMINI_API_KEY", "AIzaWrongKeyOfTheDoctor")
        with pytest.raises(SettingsError, match="give the workers a key") as caught:
            check_gemini(settings)
    assert "AIzaWrong" not in str(caught.value)


def test_an_api_out_of_reach(asked: pytest.MonkeyPatch) -> None:
    """The network, not the key."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        asked.setenv("GOOGLE_GEMINI_BASE_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        asked.setenv("GEMINI_API_KEY", "x")
        with pytest.raises(SettingsError, match="look at the network"):
            check_gemini(Settings(router_file=ROUTER))
