"""A retry whose message cannot be sent: one line in the log, and Celery lets the task go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from celery.app.trace import build_tracer

from promptyard.store import keys
from promptyard_worker.again import again
from promptyard_worker.celery_app import create_app

NOBODY = "redis://127.0.0.1:1/0"


@pytest.fixture
def app(request: pytest.FixtureRequest, redis_url: str) -> Iterator[Celery]:
    """The app on the test's Redis, or where there is none."""
    made = create_app(NOBODY if getattr(request, "param", "") == "away" else redis_url)
    # it would hide nothing, only take longer
    made.conf.task_publish_retry = False
    yield made
    made.close()


def run(app: Celery) -> str:
    """Run a task that asks to be run again, as a worker does; gives its state."""

    @app.task(name="test.again", bind=True, max_retries=None)
    def ask(self: Any) -> None:
        raise again(self, delay_s=0.5, queue="pro")

    request = {"id": "j1", "delivery_info": {"routing_key": "lite", "priority": 5}}
    trace = build_tracer("test.again", ask, app=app)
    info = trace("j1", [], {}, request).info
    assert info is not None
    return str(info.state)


def test_the_message_goes_to_the_queue_named(app: Celery, raw: redis.Redis) -> None:
    """As Celery's own retry: the same task id, due later."""
    assert run(app) == "RETRY"
    message = json.loads(raw.lindex(keys.queue("pro", 5), 0) or b"{}")
    assert message["headers"]["id"] == "j1"
    assert message["headers"]["retries"] == 1


@pytest.mark.parametrize("app", ["away"], indirect=True)
def test_a_message_that_cannot_be_sent_is_one_line(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    """No traceback a job; the reconciler has them all."""
    assert run(app) == "IGNORED"
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "task j1 could not be sent again" in record.getMessage()
    assert "Traceback" not in caplog.text
