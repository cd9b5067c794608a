"""What ``promptyard doctor`` asks of the worker package."""

from __future__ import annotations

from promptyard.settings import Settings


def check_router_file(settings: Settings) -> str:
    """Say which router file is in use.

    Raises:
        RouterFileError: it cannot be used; the message has the remedy.
    """
    from promptyard_worker.routing.file import find_router_file, load_router

    path = find_router_file(settings.router_file)
    config = load_router(path)
    return f"{path}, policy {config.policy_version}"
