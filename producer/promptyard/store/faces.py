"""Who carries a Call to Redis: ``Store`` blocks, ``AsyncStore`` awaits."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    AuthenticationError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from promptyard.errors import StoreError, StoreFull
from promptyard.store.call import Call
from promptyard.store.scripts import Script, script

T = TypeVar("T")
Command = tuple[Any, ...]

#: No reply for this long is an error; longer than any BLOCK we ask for.
SOCKET_TIMEOUT_S: Final = 30.0
CONNECT_TIMEOUT_S: Final = 5.0
_RETRIES: Final = 5
_RETRY_CAP_S: Final = 2.0
_RETRY_BASE_S: Final = 0.05

#: Plain commands that a full Redis refuses (``denyoom`` in COMMAND INFO). Ours are about work that
#: is in, whose leases must be renewed all the same: they go as a script that may go over the limit.
DENIED_WHEN_FULL: Final = frozenset({"HINCRBY", "HSET", "SET", "XADD", "ZADD"})

_OPTIONS: Final[dict[str, Any]] = {
    "socket_timeout": SOCKET_TIMEOUT_S,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_keepalive": True,
    "health_check_interval": 10,
    "protocol": 2,  # one shape of reply for XREAD, whatever the server speaks
    # safe although a script may have run before the reply was lost: see Call
    "retry_on_error": [RedisConnectionError, RedisTimeoutError],
}


def _backoff() -> ExponentialWithJitterBackoff:
    return ExponentialWithJitterBackoff(base=_RETRY_BASE_S, cap=_RETRY_CAP_S)


def exchange(
    calls: Sequence[Call[T]], where: str
) -> Generator[list[Command], list[Any], list[T | StoreError]]:
    """The talk that carries out calls: yields commands to send, is sent their replies.

    Gives what came of each. A server that restarted has forgotten our scripts. A call answered
    NOSCRIPT has not run, so the scripts are loaded and just those calls are sent again. A server
    that is full is asked how full it is.
    """
    calls = [_let_through(call) for call in calls]
    commands = [_command(call) for call in calls]
    replies = yield commands
    if unrun := [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]:
        unloaded = {call.command for n in unrun if isinstance((call := calls[n]).command, Script)}
        yield [("SCRIPT LOAD", script.text) for script in unloaded]
        again = yield [commands[n] for n in unrun]
        for n, reply in zip(unrun, again, strict=True):
            replies[n] = reply
    memory = None
    if any(isinstance(reply, OutOfMemoryError) for reply in replies):
        (memory,) = yield [("INFO", "memory")]
    return [
        store_error(reply, where, memory) if isinstance(reply, RedisError) else call.decode(reply)
        for call, reply in zip(calls, replies, strict=True)
    ]


class Store:
    """Blocking face. Safe to share between threads."""

    def __init__(self, url: str) -> None:
        self._where = address(url)
        self._redis = redis.Redis.from_url(url, retry=Retry(_backoff(), _RETRIES), **_OPTIONS)

    @property
    def redis(self) -> redis.Redis:
        """The client underneath, for what is not a Call (pub/sub, INFO)."""
        return self._redis

    def do(self, call: Call[T]) -> T:
        """Carry out one call.

        Raises:
            StoreError: Redis is out of reach or refuses.
        """
        return self.do_many([call])[0]

    def do_many(self, calls: Sequence[Call[T]]) -> list[T]:
        """Carry out several calls in one round trip, in order.

        Raises:
            StoreError: Redis is out of reach or refuses one of them (others may have run).
        """
        outcomes = self.do_each(calls)
        return _all_of(outcomes)

    def do_each(self, calls: Sequence[Call[T]]) -> list[T | StoreError]:
        """As ``do_many``, but gives the error of a call that is refused in its place.

        Raises:
            StoreError: Redis is out of reach; any of the calls may have run.
        """
        talk = exchange(calls, self._where)
        try:
            commands = next(talk)
            while True:
                commands = talk.send(self._send(commands))
        except StopIteration as end:
            outcomes: list[T | StoreError] = end.value
            return outcomes
        except RedisError as error:
            raise store_error(error, self._where) from error

    def _send(self, commands: list[Command]) -> list[Any]:
        with self._redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)  # type: ignore[no-untyped-call]
            replies = pipe.execute(raise_on_error=False)
        if _is_replica(replies):
            self._redis.connection_pool.disconnect(inuse_connections=False)
        return replies

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()


class AsyncStore:
    """Awaiting face, for one event loop."""

    def __init__(self, url: str) -> None:
        self._where = address(url)
        self._redis = redis.asyncio.Redis.from_url(
            url, retry=AsyncRetry(_backoff(), _RETRIES), **_OPTIONS
        )
        self._waiting: list[tuple[list[Command], asyncio.Future[list[Any]]]] = []
        self._courier: asyncio.Task[None] | None = None

    @property
    def redis(self) -> redis.asyncio.Redis:
        """The client underneath, for what is not a Call (pub/sub, INFO)."""
        return self._redis

    async def do(self, call: Call[T]) -> T:
        """Carry out one call; as ``Store.do``."""
        return (await self.do_many([call]))[0]

    async def do_many(self, calls: Sequence[Call[T]]) -> list[T]:
        """Carry out several calls in one round trip; as ``Store.do_many``.

        Calls of tasks that run at the same time share round trips: a worker with hundreds of
        jobs in flight pays for few.
        """
        outcomes = await self.do_each(calls)
        return _all_of(outcomes)

    async def do_each(self, calls: Sequence[Call[T]]) -> list[T | StoreError]:
        """As ``Store.do_each``."""
        # a call that blocks in Redis must not hold up others' replies
        alone = any(call.blocks for call in calls)
        talk = exchange(calls, self._where)
        try:
            commands = next(talk)
            while True:
                commands = talk.send(await self._send(commands, alone=alone))
        except StopIteration as end:
            outcomes: list[T | StoreError] = end.value
            return outcomes
        except RedisError as error:
            raise store_error(error, self._where) from error

    async def _send(self, commands: list[Command], *, alone: bool) -> list[Any]:
        if alone:
            return await self._pipeline(commands)
        replies: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((commands, replies))
        if self._courier is None:
            self._courier = asyncio.create_task(self._carry())
        return await replies

    async def _carry(self) -> None:
        """Send what has gathered, in one pipeline at a time, until nothing waits."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                found = await self._pipeline([command for own, _ in batch for command in own])
            except BaseException as error:
                for _, replies in batch:
                    if not replies.done():
                        replies.set_exception(error)
                continue
            for own, replies in batch:
                mine, found = found[: len(own)], found[len(own) :]
                if not replies.done():  # its sender was cancelled
                    replies.set_result(mine)
        self._courier = None

    async def _pipeline(self, commands: list[Command]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            replies = await pipe.execute(raise_on_error=False)
        if _is_replica(replies):
            await self._redis.connection_pool.disconnect(inuse_connections=False)
        return replies

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


def _is_replica(replies: Sequence[Any]) -> bool:
    """Whether a failover has made the server a replica, which it tells whoever writes.

    The address may lead to the new primary by now, but a connection that is open never will.
    """
    return any(isinstance(reply, ReadOnlyError) for reply in replies)


def _all_of(outcomes: Sequence[T | StoreError]) -> list[T]:
    found: list[T] = []
    for outcome in outcomes:
        if isinstance(outcome, StoreError):
            raise outcome
        found.append(outcome)
    return found


def _let_through(call: Call[T]) -> Call[T]:
    if call.command not in DENIED_WHEN_FULL:
        return call
    return replace(call, command=script("command"), args=(str(call.command), *call.args))


def _command(call: Call[Any]) -> Command:
    if isinstance(call.command, Script):
        return ("EVALSHA", call.command.sha, 0, *call.args)
    return (call.command, *call.args)


def address(url: str) -> str:
    """The address without user and password, for messages."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def store_error(error: RedisError, where: str, memory: Any = None) -> StoreError:
    """Say what Redis said, and what to do; ``memory`` is its INFO of that section, if at hand."""
    if isinstance(error, OutOfMemoryError):
        return StoreFull(
            f"Redis at {where} is full{_fill(memory)}. It takes no new jobs; those that are in "
            "go on. Raise its maxmemory, or let finished batches expire."
        )
    if isinstance(error, AuthenticationError):
        remedy = "Put the right user and password into REDIS_URL."
    elif isinstance(error, RedisConnectionError | RedisTimeoutError):
        remedy = "Start Redis there, or set REDIS_URL to where it runs."
    elif isinstance(error, ReadOnlyError):
        remedy = "It is a replica: wait for the failover to end, or set REDIS_URL to the primary."
    else:
        remedy = "See the Redis log; `promptyard doctor` checks the server."
    return StoreError(f"Redis at {where}: {str(error).rstrip('.')}. {remedy}")


def _fill(memory: Any) -> str:
    """How full it is, in words; nothing if it does not say (an ACL may forbid INFO)."""
    if not isinstance(memory, dict):
        return ""
    used, limit = (int(memory.get(name, 0)) / 1e6 for name in ("used_memory", "maxmemory"))
    return f": {used:,.1f} MB used of {limit:,.1f} MB"
