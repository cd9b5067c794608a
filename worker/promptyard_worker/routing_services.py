"""What a process of ours lends to routing: one Gemini client, an allowance, a cache folder."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from promptyard.settings import Settings

if TYPE_CHECKING:
    from google import genai

    from promptyard_worker.routing.services import Allowance, Services


@contextlib.contextmanager
def routing_services(
    settings: Settings, *, allowance: Allowance | None = None
) -> Iterator[Services]:
    """Services whose client is opened when a stage first asks for it, and closed at the end.

    Args:
        settings: say where embeddings of utterances are kept.
        allowance: the judge's; None: it counts in this process alone.
    """
    from promptyard_worker.routing.services import Services

    lock = threading.Lock()
    clients: list[genai.Client] = []

    def gemini() -> genai.Client:
        # only a judge or a Gemini encoder pays for the SDK
        from promptyard_worker.gemini.blocking import blocking_client

        with lock:
            if not clients:
                clients.append(blocking_client())
            return clients[0]

    try:
        yield Services(gemini=gemini, allowance=allowance, cache_folder=settings.home / "cache")
    finally:
        for client in clients:
            client.close()
