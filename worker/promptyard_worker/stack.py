"""The local stack: Valkey, the stand-in and the workers, as children of this process."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from promptyard.child import Child
from promptyard.embedded import EmbeddedServer
from promptyard.errors import SettingsError, StackError
from promptyard.names import QUEUES
from promptyard.producer import Producer
from promptyard.settings import Settings
from promptyard_worker.flower import FLOWER_GRACE_S, flower_service, flower_url
from promptyard_worker.routing.file import find_router_file, load_router
from promptyard_worker.service import Service
from promptyard_worker.standin import StandIn
from promptyard_worker.worker import CONCURRENCY

_events = logging.getLogger(__name__)

#: Calls in flight may finish for so long when the stack stops; longer ones are made again.
DRAIN_S: Final = 8.0
#: Then a worker is killed.
GRACE_S: Final = 10.0
_READY_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.05
_KEYS: Final = ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CLOUD_PROJECT")
_BASE_URL: Final = "GOOGLE_GEMINI_BASE_URL"


def _nobody() -> int:
    return 0


class LocalStack:
    """Context manager: everything that works off a batch, on this machine.

    Args:
        settings: its home; Redis, if ``redis_url`` names one (else Valkey is started).
        signals: how often someone has asked to stop. While it starts, once is enough; while
            it stops, twice means that calls in flight are not waited for.
        concurrency: calls in flight, by queue; what is missing has the usual number.
        latency_scale: of the stand-in, 1 is real latency; None: its environment variable,
            else a tenth.
        persist: whether its Valkey keeps its data over a restart.
        shared: whether others of this home may use it: it stays until it is told to go.
        flower: whether Flower watches, on this machine only.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        signals: Callable[[], int] = _nobody,
        concurrency: Mapping[str, int] | None = None,
        latency_scale: float | None = None,
        persist: bool = True,
        shared: bool = False,
        flower: bool = False,
    ) -> None:
        self._settings = settings
        self._is_shared = shared
        self._persist = persist
        self._signals = signals
        self._concurrency = {**CONCURRENCY, **(concurrency or {})}
        self._url = settings.redis_url.get_secret_value() if settings.redis_url else None
        self._server: EmbeddedServer | None = None
        self._stand_in: StandIn | None = None
        self._workers: list[Service] = []
        self._wants_flower = flower
        self._flower: Service | None = None
        if _wants_stand_in(os.environ):
            self._stand_in = StandIn(self._log("sim"), latency_scale=latency_scale)

    @property
    def url(self) -> str:
        """Where Redis is, once started."""
        if self._url is None:
            raise StackError("The stack is not started: call start() first.")
        return self._url

    @property
    def simulated(self) -> bool:
        """Whether the stand-in answers instead of a model."""
        return self._stand_in is not None

    @property
    def base_url(self) -> str | None:
        """Where the stand-in is; None without one."""
        return self._stand_in.url if self._stand_in else None

    @property
    def flower_url(self) -> str | None:
        """Where Flower is; None without one."""
        return flower_url(os.environ) if self._flower else None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until the workers take jobs; returns early on a signal.

        Raises:
            RouterFileError: the workers could not use it; nothing is started.
            StackError: a part does not start; quotes its log.
        """
        load_router(find_router_file(self._settings.router_file))
        if self._stand_in:
            self._stand_in.launch()
        if self._url is None:
            self._server = EmbeddedServer(
                self._settings.home, persist=self._persist, shared=self._is_shared
            )
            self._server.start()
            self._url = self._server.url
        if self._stand_in and not self._stand_in.wait(self._signals):
            return
        environ = self._environ()
        for queue in QUEUES:
            self._workers.append(self._worker(queue, environ))
        for worker in self._workers:
            worker.launch()
        self._wait_for_workers()
        if self._wants_flower:
            self._flower = flower_service(self._log("flower"), environ)
            self._flower.launch()

    def check(self) -> None:
        """Start again what has died; call it a few times a second.

        Raises:
            StackError: a part dies over and over, or Valkey has ended.
        """
        if self._server:
            self._server.check()
        if self._stand_in:
            self._stand_in.check()
        for service in self._workers:
            service.check()
        self._check_flower()

    def reload(self) -> None:
        """Have the workers read the router file now, as SIGHUP has one."""
        for worker in self._workers:
            worker.hang_up()

    def stop(self) -> None:
        """Stop everything, in the order in which the parts need each other."""
        if self._flower and self._flower.child:
            self._flower.child.stop(FLOWER_GRACE_S)
        self._stop_workers()
        if self._stand_in:
            self._stand_in.stop()
        if self._server:
            self._server.stop()
            self._server = None

    def _check_flower(self) -> None:
        """Who only watches may fail without the others."""
        try:
            if self._flower:
                self._flower.check()
        except StackError as error:
            self._flower = None
            _events.warning("The stack goes on without Flower. %s", error)

    def _worker(self, queue: str, environ: Mapping[str, str]) -> Service:
        concurrency = str(self._concurrency[queue])
        events = ["--events"] if self._wants_flower else []
        argv = [sys.executable, "-m", "promptyard_worker.worker", queue]
        return Service(
            f"worker-{queue}",
            [*argv, "--concurrency", concurrency, "--drain", str(DRAIN_S), *events],
            log=self._log(f"worker-{queue}"),
            env=environ,
        )

    def _log(self, name: str) -> Path:
        return self._settings.home / "logs" / f"{name}.log"

    def _environ(self) -> dict[str, str]:
        environ = {**os.environ, "REDIS_URL": self.url}
        if self._stand_in:
            environ |= {_BASE_URL: self._stand_in.url, "GEMINI_API_KEY": "simulated"}
        return environ

    def _wait_for_workers(self) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        with Producer(self.url, settings=self._settings) as producer:
            while waiting := self._not_ready(producer):
                if self._signals():
                    return
                for worker in waiting:
                    worker.expect_alive()
                if time.monotonic() > deadline:
                    names = ", ".join(worker.name for worker in waiting)
                    raise StackError(
                        f"{names} not ready after {_READY_TIMEOUT_S:g} s. "
                        f"End of {waiting[0].log}:\n{waiting[0].tail()}"
                    )
                time.sleep(_POLL_S)

    def _not_ready(self, producer: Producer) -> list[Service]:
        ready = {card.pid for card in producer.workers()}
        return [worker for worker in self._workers if worker.pid not in ready]

    def _stop_workers(self) -> None:
        children: list[Child] = [worker.child for worker in self._workers if worker.child]
        for child in children:
            child.terminate()
        deadline = time.monotonic() + GRACE_S
        while any(child.poll() is None for child in children):
            if time.monotonic() > deadline or self._signals() > 1:
                break
            time.sleep(_POLL_S)
        for child in children:
            child.kill()
        self._workers.clear()


def _wants_stand_in(environ: Mapping[str, str]) -> bool:
    if any(environ.get(name) for name in _KEYS):
        return False
    if environ.get(_BASE_URL):
        raise SettingsError(
            f"{_BASE_URL} is set, but no key: set GEMINI_API_KEY too (any text, if that server "
            f"asks for none), or unset {_BASE_URL} to use the stand-in."
        )
    return True
