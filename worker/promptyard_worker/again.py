"""A task again, by a Celery retry that need not arrive."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celery.exceptions import Ignore, Reject

if TYPE_CHECKING:
    from celery import Task

log = logging.getLogger(__name__)


def again(task: Task[Any, Any], *, delay_s: float, queue: str | None = None) -> Exception:
    """Send a task's message again; gives what the task is to raise.

    If it cannot be sent (Redis is away, or becomes a replica), the job loses no more than time:
    it stands in the index of those that wait, where the reconciler finds it. Celery would log a
    traceback of ninety lines for each.
    """
    options: dict[str, Any] = {} if queue is None else {"queue": queue}
    try:
        return task.retry(countdown=delay_s, exc=None, throw=False, **options)
    except Reject as rejected:
        log.warning(
            "The message of task %s could not be sent again; the reconciler will do it. %s",
            task.request.id,
            rejected.args[0],
        )
        return Ignore()
