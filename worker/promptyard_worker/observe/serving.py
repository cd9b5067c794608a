"""Serves metrics over HTTP, on loopback unless told otherwise."""

from __future__ import annotations

import signal
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import typer
from prometheus_client import CollectorRegistry, start_http_server

from promptyard.errors import SettingsError
from promptyard.interrupts import Interrupts, Stopped
from promptyard.producer import Producer
from promptyard.store import Store
from promptyard_worker.observe.exporter import store_registry

if TYPE_CHECKING:
    from promptyard.settings import Settings
    from promptyard_worker.observe.metrics import Metrics


def serve_metrics(settings: Settings, metrics: Metrics) -> None:
    """Answer ``GET /metrics`` from a thread of its own, if a port is set.

    Raises:
        SettingsError: the port is taken, or the address is not of this machine.
    """
    if settings.metrics_port is None:
        return
    _serve(metrics.registry, settings.metrics_host, settings.metrics_port)


def serve_store(url: str, settings: Settings, *, host: str, port: int) -> None:
    """Answer ``GET /metrics`` about the store until SIGINT or SIGTERM.

    Raises:
        SettingsError: the port is taken, or the address is not of this machine.
    """
    with (
        Producer(url, settings=settings) as producer,
        closing(Store(url)) as store,
        Interrupts(),
        suppress(Stopped),
    ):
        port = _serve(store_registry(producer, store), host, port)
        typer.echo(f"metrics at http://{host}:{port}/metrics; ctrl-C stops", err=True)
        while True:
            signal.pause()


def _serve(registry: CollectorRegistry, host: str, port: int) -> int:
    """Serve from a thread of its own; gives the port."""
    try:
        server, _ = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise SettingsError(
            f"Metrics cannot be served at {host}:{port}: {error.strerror}. Each process of a host "
            "needs a port of its own: --metrics-port, or PROMPTYARD_METRICS_PORT, for a worker; "
            "--port for the exporter."
        ) from error
    return int(server.server_address[1])
