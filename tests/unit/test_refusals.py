"""Which messages get to Celery."""

from __future__ import annotations

import base64
import json
import logging
import pickle
from typing import Any

import pytest

from promptyard.names import CLASSIFY_TASK, GENERATE_TASK
from promptyard.store import messages
from promptyard_worker.refusals import CONTENT_TYPE, MALFORMED, TASK, is_ours, message_refused

OURS = json.loads(messages.generate_message("job", tier="lite", priority=5))


def changed(part: str = "", **values: Any) -> bytes:
    """Our message with some values changed, in a part of it or at its top."""
    message = json.loads(json.dumps(OURS))
    (message[part] if part else message).update(values)
    return json.dumps(message).encode()


def with_body(body: Any) -> bytes:
    """Our message with another body, JSON as ours is."""
    return changed(body=base64.b64encode(json.dumps(body).encode()).decode())


def reason_of(message: bytes) -> str | None:
    """Why a message is refused; None if it is not."""
    told: list[tuple[str, str]] = []

    def listen(queue: str, reason: str, **_: Any) -> None:
        told.append((queue, reason))

    message_refused.connect(listen)
    try:
        if is_ours(message, queue="lite"):
            assert told == []
            return None
    finally:
        message_refused.disconnect(listen)
    ((queue, reason),) = told
    assert queue == "lite"
    return reason


@pytest.mark.parametrize("priority", [0, 9])
def test_what_our_scripts_push_goes_on(priority: int) -> None:
    """Both tasks, at any priority."""
    one = messages.generate_message("job", tier="pro", priority=priority)
    chunk = messages.classify_message(["a", "b"], priority=priority)
    assert reason_of(one.encode()) is None
    assert reason_of(chunk.encode()) is None


def test_pickle_is_refused_unread() -> None:
    """Whatever else the message says."""

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return pytest.fail, ("it was read",)

    body = base64.b64encode(pickle.dumps(([Trap()], {}, {}))).decode()
    for kind in ("application/x-python-serialize", "application/x-yaml", None):
        values: dict[str, Any] = {"content-type": kind, "content-encoding": "binary"}
        message = changed(body=body, **values)
        assert reason_of(message) == CONTENT_TYPE


def test_tasks_of_others_are_refused() -> None:
    """Celery's own too: nobody needs them here."""
    for name in ("somebody.elses", "celery.chord_unlock", "", None):
        assert reason_of(changed("headers", task=name)) == TASK
    assert reason_of(changed("headers", task=CLASSIFY_TASK)) is None


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"rubbish",
        b"\xff\xfe\x00",
        b"[1, 2]",
        b"17",
        b"null",
        b"{}",
        b"[" * 100_000,
        changed(headers=None),
        changed(properties=[]),
        changed(body="{{{"),
        changed(body=None),
        changed("headers", id=17),
        changed("headers", task=["promptyard.generate"]),
        changed("properties", delivery_tag=None),
        changed("properties", body_encoding=None),
        changed("properties", delivery_info={"exchange": ""}),
        with_body(17),
        with_body({"args": ["job"]}),
        with_body([["job"], {}]),
        with_body([["job", "more"], {}, {}]),
        with_body([["job"], {"queue": "pro"}, {}]),
        with_body([[], {}, {}]),
        with_body(["job", {}, {}]),
    ],
    ids=range(24),
)
def test_what_would_end_a_worker_is_refused(message: bytes) -> None:
    """Each would be an exception in Celery's event loop, or in the task."""
    assert reason_of(message) == MALFORMED


def test_the_log_does_not_say_what_was_in_it(caplog: pytest.LogCaptureFixture) -> None:
    """Queue, size and reason."""
    with caplog.at_level(logging.ERROR):
        assert not is_ours(b'{"secret": "AIzaSomething"}', queue="pro")
    (line,) = caplog.messages
    assert "27 bytes in the queue pro" in line
    assert "AIza" not in line
    assert GENERATE_TASK not in line
