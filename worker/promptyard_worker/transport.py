"""kombu's Redis transport, with one client a channel instead of one an acknowledgement.

kombu 5.7 builds a new ``redis.Redis`` (with its table of 200 reply parsers) for every message
it notes as unacknowledged and for every one it acknowledges: a tenth of a busy worker's CPU
(docs/decisions/0001-pool.md). The client is stateless over the channel's pool, so one will do.
Nothing else differs: keys, commands and guarantees are kombu's own.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from kombu.transport import redis as kombu_redis


class Channel(kombu_redis.Channel):
    """A channel that keeps its client."""

    @cached_property
    def _pooled_client(self) -> Any:
        return super()._create_client(asynchronous=False)  # type: ignore[misc]

    def _create_client(self, asynchronous: bool = False) -> Any:
        if not asynchronous:
            return self._pooled_client
        return super()._create_client(asynchronous=True)  # type: ignore[misc]


class Transport(kombu_redis.Transport):
    """The transport for ``broker_transport``."""

    Channel = Channel
