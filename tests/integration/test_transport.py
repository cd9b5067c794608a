"""kombu over our transport, on servers that are full and on some that are not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import redis
from kombu import Connection, Queue

from promptyard import embedded
from promptyard.embedded import EmbeddedServer
from promptyard.store import keys, messages
from promptyard_worker.celery_app import create_app
from tests.memory import full

QUEUE = Queue("pro", exchange="", routing_key="pro")
PLACE = keys.queue("pro", 5)


@pytest.fixture(scope="module", params=["the wheel's", "redis-server"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedServer]:
    """Valkey, and the Redis of this machine: 7.0 refuses more than its successors."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "redis-server":
            program = shutil.which(request.param)
            if program is None:
                pytest.skip("no redis-server on the PATH")
            patch.setattr(embedded, "find_program", lambda: Path(program))
        with EmbeddedServer(tmp_path_factory.mktemp("server"), persist=False) as started:
            yield started


@pytest.fixture
def raw(server: EmbeddedServer) -> Iterator[redis.Redis]:
    """A plain client of an empty database."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        yield client


@pytest.fixture
def broker(server: EmbeddedServer) -> Iterator[Connection]:
    """A connection as workers have it."""
    app = create_app(server.url)
    with app.connection_for_read() as connection:
        yield connection
    app.close()


@pytest.fixture(params=["with room", "full"])
def level(request: pytest.FixtureRequest, raw: redis.Redis) -> AbstractContextManager[None]:
    """How full the server is while the messages travel."""
    return full(raw) if request.param == "full" else nullcontext()


def test_a_message_taken_is_noted_and_goes_back(
    broker: Connection, level: AbstractContextManager[None], raw: redis.Redis
) -> None:
    """kombu's own keys and members, whether the commands were refused at first or not."""
    raw.lpush(PLACE, messages.generate_message("j1", tier="pro", priority=5))
    with level, broker.channel() as channel:
        message = QUEUE.bind(channel).get()
        assert message is not None
        tag = message.delivery_tag or ""
        assert raw.llen(PLACE) == 0
        assert raw.zscore("unacked_index", tag) is not None
        held, exchange, routing_key = json.loads(raw.hget("unacked", tag) or b"[]")
        assert (held["headers"]["id"], exchange, routing_key) == ("j1", "", "pro")
    (back,) = raw.lrange(PLACE, 0, -1)
    assert json.loads(back)["headers"]["id"] == "j1"
    assert not raw.exists("unacked", "unacked_index")


def test_a_message_is_sent_once(
    broker: Connection, level: AbstractContextManager[None], raw: redis.Redis
) -> None:
    """The second attempt, as a script, is made only if the first one was refused."""
    with level, broker.channel() as channel:
        broker.Producer(channel).publish("x", routing_key="pro", priority=5)
    assert raw.llen(PLACE) == 1


def test_an_acknowledged_message_is_gone(
    broker: Connection, level: AbstractContextManager[None], raw: redis.Redis
) -> None:
    """Nothing of it is left."""
    raw.lpush(PLACE, messages.generate_message("j1", tier="pro", priority=5))
    with level, broker.channel() as channel:
        message = QUEUE.bind(channel).get()
        assert message is not None
        message.ack()
    assert not raw.exists(PLACE, "unacked", "unacked_index")
