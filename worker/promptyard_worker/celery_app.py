"""The Celery app: transport, queues, tasks.

Settings and their reasons are measured in ``docs/decisions/0001-pool.md``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from celery import Celery
from kombu import Queue

from promptyard.names import CLASSIFY_QUEUE, PRIORITIES, QUEUES
from promptyard.settings import Settings

#: Where a queue's task is.
_TASK_MODULES: Final = {
    queue: "promptyard_worker.classify" if queue == CLASSIFY_QUEUE else "promptyard_worker.generate"
    for queue in QUEUES
}

DEFAULT_REDIS_URL: Final = "redis://127.0.0.1:6379/0"

#: Longer than the longest call and its wait; Celery delivers a message again only after it.
#: Dead workers' jobs do not wait for it: their leases run out first (recovery.py).
VISIBILITY_TIMEOUT_S: Final = 3600

#: Jobs that wait for a retry in one worker's memory; each holds a message.
ETA_TASK_LIMIT: Final = 1000

#: Messages of one priority are one list; ten steps keep all ten priorities apart.
PRIORITY_STEPS: Final = tuple(PRIORITIES)

TRANSPORT_OPTIONS: Final[dict[str, Any]] = {
    "visibility_timeout": VISIBILITY_TIMEOUT_S,
    "priority_steps": list(PRIORITY_STEPS),
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "max_connections": 500,
    "socket_timeout": 30,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
}


def task_modules(queues: Iterable[str]) -> list[str]:
    """What a worker of these queues imports: their tasks, and what goes on around them.

    One that only classifies does without Google's SDK, 0.4 s and 35 MB.
    """
    return [*sorted({_TASK_MODULES[queue] for queue in queues}), "promptyard_worker.lifecycle"]


def create_app(redis_url: str) -> Celery:
    """Build the app for a Redis."""
    backend = f"promptyard.backend:JobBackend+{redis_url}"
    app = Celery("promptyard", broker=redis_url, backend=backend)
    app.conf.update(
        include=task_modules(QUEUES),
        task_queues=[Queue(name, exchange="", routing_key=name) for name in QUEUES],
        task_default_queue="classify",
        task_default_exchange="",
        task_serializer="json",
        accept_content=["json"],
        # the job record is the result; Celery keeps none of its own
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_disable_rate_limits=True,
        worker_eta_task_limit=ETA_TASK_LIMIT,
        worker_enable_prefetch_count_reduction=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        broker_transport="promptyard_worker.transport:Transport",
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # a Redis that is made a replica answers BRPOP with an error; without this the worker ends
        broker_channel_error_retry=True,
        broker_transport_options=TRANSPORT_OPTIONS,
        task_default_priority=5,
    )
    return app


def url_of(settings: Settings) -> str:
    """Redis as the settings say."""
    url = settings.redis_url
    return url.get_secret_value() if url else DEFAULT_REDIS_URL


app = create_app(url_of(Settings.from_env()))
