"""What our scripts push is what Celery itself sends."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import redis
from celery import Celery

from promptyard.names import CLASSIFY_TASK, GENERATE_TASK
from promptyard.store import keys, messages
from promptyard_worker.celery_app import create_app

#: Fields that must differ between two messages.
UNIQUE = {"delivery_tag", "reply_to", "origin"}


def sent_by_celery(app: Celery, raw: redis.Redis, task: str, **options: Any) -> dict[str, Any]:
    """Send a task through Celery and kombu; read what lies in the list."""
    app.send_task(task, argsrepr="-", kwargsrepr="-", ignore_result=True, **options)
    body = raw.lpop(keys.queue(options["queue"], options["priority"]))
    assert body is not None, "Celery pushed to another list than keys.queue names"
    return json.loads(body)


def comparable(message: dict[str, Any]) -> dict[str, Any]:
    """The message without what must differ, its body opened."""
    headers = {key: value for key, value in message["headers"].items() if key not in UNIQUE}
    properties = {key: value for key, value in message["properties"].items() if key not in UNIQUE}
    body = json.loads(base64.b64decode(message["body"]))
    return {**message, "headers": headers, "properties": properties, "body": body}


@pytest.mark.parametrize("priority", [0, 5, 9])
def test_generate_message_is_celerys(redis_url: str, raw: redis.Redis, priority: int) -> None:
    """Every field of a generate message equals Celery's own, at every kind of priority."""
    app = create_app(redis_url)
    theirs = sent_by_celery(
        app, raw, GENERATE_TASK, args=["j1"], task_id="j1", queue="pro", priority=priority
    )
    ours = json.loads(messages.generate_message("j1", tier="pro", priority=priority))
    assert comparable(ours) == comparable(theirs)
    app.close()


def test_classify_message_is_celerys(redis_url: str, raw: redis.Redis) -> None:
    """The same for a classify message with its list of ids."""
    app = create_app(redis_url)
    theirs = sent_by_celery(
        app, raw, CLASSIFY_TASK, args=[["a", "b"]], queue="classify", priority=5
    )
    ours = json.loads(messages.classify_message(["a", "b"], priority=5))
    for message in (ours, theirs):  # the task id is drawn anew for each chunk
        task_id = message["headers"].pop("id")
        assert message["headers"].pop("root_id") == task_id
        assert message["properties"].pop("correlation_id") == task_id
    assert comparable(ours) == comparable(theirs)
    app.close()
