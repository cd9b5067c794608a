"""A real Valkey for every test that wants one, and the invariants that hold after each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from promptyard.embedded import EmbeddedServer
from promptyard.names import KEY_PREFIX
from promptyard.producer import Producer
from promptyard.store import Store, keys


def wait_until(
    predicate: Callable[[], object], *, description: str, timeout_s: float = 20.0
) -> None:
    """Poll until the predicate holds; fail with the description at the deadline."""
    deadline = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s:g} s: {description}")
        time.sleep(0.01)


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """One in-memory Valkey for the session."""
    with EmbeddedServer(tmp_path_factory.mktemp("valkey"), persist=False) as server:
        yield server


@pytest.fixture
def redis_url(valkey: EmbeddedServer) -> Iterator[str]:
    """An empty database; afterwards no key of ours may lack a TTL without a reason."""
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
        yield valkey.url
        assert leaked_keys(client) == []


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    """A plain client of the test's database."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    """The blocking store face."""
    face = Store(redis_url)
    yield face
    face.close()


@pytest.fixture
def producer(redis_url: str) -> Iterator[Producer]:
    """A blocking producer."""
    with Producer(redis_url) as made:
        yield made


def leaked_keys(client: redis.Redis) -> list[str]:
    """Keys of ours without a TTL that are not listed as permanent."""
    ours = [key.decode() for key in client.scan_iter(f"{KEY_PREFIX}:*")]
    return [key for key in ours if not keys.is_permanent(key) and client.ttl(key) == -1]


@pytest.fixture
def shared_data() -> Path:
    """Third-party data beside the project; tests that want it are skipped without it."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip("../shared/data is absent")
    return path
