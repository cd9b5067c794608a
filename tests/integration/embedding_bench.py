"""A stand-in that embeds, and encoders of it that wait by a clock of the test's."""

from __future__ import annotations

from typing import Any

from google import genai
from google.genai import types

from promptyard_worker.routing.encoders.gemini import GeminiEncoder
from promptyard_worker.routing.encoders.patience import Timing
from promptyard_worker.sim.app import SimApp
from promptyard_worker.sim.config import SimConfig
from promptyard_worker.sim.server import SimServer


class Watch:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept_s: list[float] = []

    def __call__(self) -> float:
        """Seconds."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Move."""
        self.slept_s.append(seconds)
        self.now_s += seconds


class Bench:
    """A stand-in, clients of it, and encoders that wait by the same clock."""

    def __init__(self, **options: Any) -> None:
        self.watch = Watch()
        self.sim = SimServer()
        self.sim.app = SimApp(SimConfig(latency_scale=0, **options), clock=self.watch)
        self._clients: list[genai.Client] = []

    def __enter__(self) -> Bench:
        self.sim.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        for client in self._clients:
            client.close()
        self.sim.__exit__(None, None, None)

    def client(self, key: str = "k") -> genai.Client:
        """As the worker opens one: without retries of the SDK."""
        options = types.HttpOptions(
            base_url=self.sim.url, retry_options=types.HttpRetryOptions(attempts=1)
        )
        self._clients.append(genai.Client(api_key=key, http_options=options))
        return self._clients[-1]

    def encoder(self, **options: Any) -> GeminiEncoder:
        """An encoder of the stand-in."""
        timing = Timing(clock=self.watch, sleep=self.watch.sleep)
        return GeminiEncoder(self.client(), timing=timing, **options)

    @property
    def calls(self) -> int:
        """Requests that have arrived."""
        return int(self.sim.stats()["calls"])

    @property
    def texts(self) -> int:
        """Texts that were embedded."""
        return int(self.sim.stats()["texts_embedded"])
