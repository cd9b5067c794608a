"""Celery messages as kombu's Redis transport stores them.

The scripts push messages in the same step that moves the job, so we write the wire format
ourselves: Celery's message protocol 2
(https://docs.celeryq.dev/en/stable/internals/protocol.html) inside kombu's virtual-transport
envelope. tests/integration/test_wire.py compares every field with what Celery itself sends.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Sequence

from promptyard.names import CLASSIFY_QUEUE, CLASSIFY_TASK, GENERATE_TASK

_EMBED = ', {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'


def classify_message(job_ids: Sequence[str], *, priority: int) -> str:
    """A message that asks for a chunk of jobs to be routed."""
    return _message(
        CLASSIFY_TASK, str(uuid.uuid4()), [list(job_ids)], queue=CLASSIFY_QUEUE, priority=priority
    )


def generate_message(job_id: str, *, tier: str, priority: int) -> str:
    """A message that asks for one job's call; its task id is the job id."""
    return _message(GENERATE_TASK, job_id, [job_id], queue=tier, priority=priority)


def _message(task: str, task_id: str, args: list[object], *, queue: str, priority: int) -> str:
    body = f"[{json.dumps(args)}{_EMBED}"
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": task,
                "id": task_id,
                "shadow": None,
                "eta": None,
                "expires": None,
                "group": None,
                "group_index": None,
                "retries": 0,
                "timelimit": [None, None],
                "root_id": task_id,
                "parent_id": None,
                "argsrepr": "-",  # the default repeats the arguments in every message
                "kwargsrepr": "-",
                "origin": "promptyard",
                "ignore_result": True,
                "replaced_task_nesting": 0,
                "stamped_headers": None,
                "stamps": {},
            },
            "properties": {
                "correlation_id": task_id,
                "reply_to": "",
                "argsrepr": "-",
                "kwargsrepr": "-",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": priority,
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    )


def first_job(message: bytes) -> str | None:
    """The first job id in a message of ours; None if it is something else."""
    try:
        envelope = json.loads(message)
        (arguments, *_) = json.loads(base64.b64decode(envelope["body"]))
        first = arguments[0]
        job_id = first[0] if isinstance(first, list) else first
    except (ValueError, LookupError, TypeError):
        return None
    return job_id if isinstance(job_id, str) else None
