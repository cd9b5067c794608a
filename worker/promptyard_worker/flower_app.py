"""The Celery app as Flower sees it: Redis as kombu knows it, and nothing of jobs or answers.

Flower asks queues itself, and knows kombu's own transports only. The tasks' modules would bring
Google's SDK along, and our result backend would show every answer to whoever may see Flower.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from redis.connection import parse_url

from promptyard.settings import Settings
from promptyard_worker.celery_app import create_app, url_of


def create_flower_app(redis_url: str) -> Celery:
    """Build the app for a Redis."""
    app = create_app(redis_url)
    app.conf.update(
        include=[],
        broker_transport=None,
        broker_use_ssl=_tls(redis_url),
        result_backend="disabled://",
    )
    return app


def _tls(redis_url: str) -> dict[str, Any] | bool:
    """The TLS options of the URL, where Flower looks for them."""
    if not redis_url.startswith("rediss://"):
        return False
    options: dict[str, Any] = parse_url(redis_url)  # type: ignore[no-untyped-call]
    found = {name: value for name, value in options.items() if name.startswith("ssl_")}
    return {"ssl_cert_reqs": "required", **found}


app = create_flower_app(url_of(Settings.from_env()))
