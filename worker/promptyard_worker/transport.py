"""kombu's Redis transport: one client a channel, and work that is in goes on when Redis is full.

Keys, members and guarantees are kombu's own. Messages that are none of ours do not get to Celery
(refusals.py).

**One client a channel.** kombu 5.7 builds a new ``redis.Redis`` (with its table of 200 reply
parsers) for every message it notes as unacknowledged and for every one it acknowledges: a tenth
of a busy worker's CPU (docs/decisions/0001-pool.md). The client is stateless over the channel's
pool, so one will do.

**A full Redis.** Over ``maxmemory`` Redis refuses every command that could grow it, but not
BRPOP. So kombu takes a message, and is refused when it notes it as unacknowledged (ZADD, HSET in
``QoS.append``): the message is gone, and the worker dies of an OutOfMemoryError in its event loop.
A worker cannot start either (SADD of its queues), retries cannot be sent (LPUSH), and every second
the log has a traceback (the lock of ``restore_visible``, the script of ``REFRESH_BINDING``). All of
that is about work that is in already, and must go on for Redis to have room again; so what is
refused goes again, as a script that may go over the limit. New work comes by ``submit.lua``, which
may not.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final

import redis
from kombu.transport import redis as kombu_redis
from redis.client import Pipeline
from redis.exceptions import OutOfMemoryError

from promptyard_worker.refusals import OursOnly

#: Flags of a script that Redis 7 lets go over the limit.
_LET_THROUGH: Final = "#!lua flags=allow-oom\n"
#: By text, not by SHA-1: a Redis that restarted knows no scripts.
_AS_SCRIPT: Final = ("EVAL", f"{_LET_THROUGH}return redis.call(unpack(ARGV))", 0)


class _Pipeline(Pipeline):
    owner: redis.Redis

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        commands = list(self.command_stack)
        try:
            return super().execute(raise_on_error)
        except OutOfMemoryError:
            # The MULTI was discarded whole. One by one they go through, while Redis 7.0 lets no
            # script into a MULTI then. What a crash between two loses, the reconciler finds.
            return [self._alone(*words, **options) for words, options in commands]

    def _alone(self, *words: Any, **options: Any) -> Any:
        return self.owner.execute_command(*words, **options)  # type: ignore[no-untyped-call]


class _Client(OursOnly):
    def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except OutOfMemoryError:
            return super().execute_command(*_AS_SCRIPT, *args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        made = _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        made.owner = self
        return made

    def register_script(self, script: Any) -> Any:
        return super().register_script(f"{_LET_THROUGH}{script}")


class Channel(kombu_redis.Channel):
    """A channel that keeps its client, and whose commands go through when Redis is full."""

    def _get_client(self) -> type[redis.Redis]:
        super()._get_client()  # type: ignore[misc]  # looks at redis-py's version
        return _Client

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
