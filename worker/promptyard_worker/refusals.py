"""Messages that are none of ours are refused before Celery sees them.

Celery takes JSON only, and drops what is not. But a list entry that is no message at all, or one
whose body is JSON of another shape, is an exception in its event loop, which ends the worker; the
message goes back to its queue, and ends the next one. So each message is looked at as it comes out
of the queue: one of ours, or one that Celery made of ours for a retry, goes on; any other is gone,
with a line in the log and a count.
"""

from __future__ import annotations

import base64
import json
import logging
from typing import Any, Final

import redis
from celery.utils.dispatch import Signal
from kombu.transport.redis import Channel

from promptyard.names import CLASSIFY_TASK, GENERATE_TASK, QUEUES

log = logging.getLogger(__name__)

#: A body in another language than JSON: pickle can run any code.
CONTENT_TYPE: Final = "content_type"
#: A task that we do not have.
TASK: Final = "task"
#: Not a message, or not one of our tasks' arguments.
MALFORMED: Final = "malformed"

#: Sent with ``queue`` and ``reason`` when a message has been refused.
message_refused = Signal(name="message_refused", providing_args=["queue", "reason"])

REASONS: Final = (CONTENT_TYPE, TASK, MALFORMED)

_TASKS: Final = frozenset({CLASSIFY_TASK, GENERATE_TASK})
_DAMAGE: Final = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


class OursOnly(redis.Redis):
    """A client for kombu's channels: a message that is refused is to them as none."""

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        """Read a reply."""
        reply = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
        if command_name != "BRPOP" or not reply:
            return reply
        key, message = reply
        queue = key.decode().partition(Channel.sep)[0]
        # others are Celery's own: replies to `celery inspect`, say
        return reply if queue not in QUEUES or is_ours(message, queue=queue) else None


def is_ours(message: bytes, *, queue: str) -> bool:
    """Whether a message of a queue may go on to Celery; tells of one that may not."""
    reason = _fault(message)
    if reason is None:
        return True
    # nothing of what it says: it may hold anything
    log.error(
        "A message of %d bytes in the queue %s is refused, and gone: it is not one of Promptyard's "
        "(%s). See who else writes to this Redis.",
        len(message),
        queue,
        reason,
    )
    message_refused.send(sender=None, queue=queue, reason=reason)
    return False


def _fault(message: bytes) -> str | None:
    """What is wrong with a message; None if it is as we and Celery write it."""
    try:
        envelope = json.loads(message)
        headers, properties = envelope["headers"], envelope["properties"]
        if envelope["content-type"] != "application/json":
            return CONTENT_TYPE
        if headers["task"] not in _TASKS:
            return TASK
        body = json.loads(base64.b64decode(envelope["body"]))
    except _DAMAGE:
        return MALFORMED
    return None if _is_whole(headers, properties, body) else MALFORMED


def _is_whole(headers: Any, properties: Any, body: Any) -> bool:
    """Whether everything is there that kombu and Celery reach for."""
    where = properties.get("delivery_info") if isinstance(properties, dict) else None
    return (
        isinstance(where, dict)
        and {"exchange", "routing_key"} <= where.keys()
        and isinstance(properties.get("delivery_tag"), str)
        and properties.get("body_encoding") == "base64"
        and isinstance(headers.get("id"), str)
        and isinstance(body, list)
        and [type(part) for part in body] == [list, dict, dict]
        and len(body[0]) == 1
        and not body[1]
    )
