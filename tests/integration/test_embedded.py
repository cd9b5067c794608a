"""The embedded Valkey: quick, private to its home, and its data never opened twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from promptyard import embedded
from promptyard.embedded import EmbeddedServer, running_url, shared_url
from promptyard.errors import StackError
from tests.conftest import wait_until

OWNER = """
import sys, time
from pathlib import Path
from promptyard import embedded
from promptyard.embedded import EmbeddedServer
embedded._LINGER_S = 2
server = EmbeddedServer(Path(sys.argv[1]), shared=sys.argv[2:] == ["shared"])
server.start()
print(server.url, server.pid, flush=True)
time.sleep(600)
"""


class Owner:
    """Another process that runs a server in the same home."""

    def __init__(self, home: Path, *, shared: bool = False) -> None:
        words = [str(home), *(["shared"] if shared else [])]
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER, *words], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url, pid = self.process.stdout.readline().split()
        self.server_pid = int(pid)

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a name that must be quoted."""
    return tmp_path / "my höme"


@pytest.fixture
def owner(home: Path) -> Iterator[Owner]:
    """A running owner of the home."""
    made = Owner(home)
    yield made
    made.kill()
    wait_until(lambda: not alive(made.server_pid), description="the owner's server is gone")


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(listed.stdout.strip()) and not listed.stdout.startswith("Z")


def client(server: EmbeddedServer) -> redis.Redis:
    """A client of the server."""
    return redis.Redis.from_url(server.url, decode_responses=True)


def test_it_starts_quickly_and_is_set_up_for_a_queue(home: Path) -> None:
    """Loopback, append-only file, no eviction, no snapshots."""
    begun = time.monotonic()
    with EmbeddedServer(home) as server, client(server) as redis_client:
        assert time.monotonic() - begun < 1.0  # 0.05 s alone; tests share the CPU
        settings = redis_client.config_get("*")
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "everysec"
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["save"] == ""
    assert settings["bind"] == "127.0.0.1"


def test_what_is_written_is_there_after_a_stop(home: Path) -> None:
    """The append-only file is flushed on a stop."""
    with EmbeddedServer(home) as server, client(server) as redis_client:
        redis_client.set("k", "v")
    with EmbeddedServer(home) as server, client(server) as redis_client:
        assert redis_client.get("k") == "v"


def test_what_is_written_is_there_after_a_sigkill(home: Path) -> None:
    """What the server has answered and the kernel has, outlives the server."""
    with EmbeddedServer(home) as server:
        with client(server) as redis_client:
            redis_client.set("k", "v")
            # WAITAOF returns when the local file is synced
            redis_client.execute_command("WAITAOF", 1, 0, 5000)
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not alive(server.pid or 0), description="the server is dead")
        with pytest.raises(StackError, match="Valkey ended with code -9"):
            server.check()
    with EmbeddedServer(home) as server, client(server) as redis_client:
        assert redis_client.get("k") == "v"


def test_in_memory_keeps_nothing(home: Path) -> None:
    """For tests and the demo."""
    with EmbeddedServer(home, persist=False) as server, client(server) as redis_client:
        redis_client.set("k", "v")
    with EmbeddedServer(home, persist=False) as server, client(server) as redis_client:
        assert redis_client.get("k") is None


def test_a_second_start_says_who_has_the_home(home: Path, owner: Owner) -> None:
    """With the pid, and both ways out."""
    with pytest.raises(StackError) as refused:
        EmbeddedServer(home).start()
    message = str(refused.value)
    assert f"process {owner.process.pid}" in message
    assert f"REDIS_URL={owner.url}" in message
    assert "PROMPTYARD_HOME" in message


def test_a_running_server_is_found_by_its_home(home: Path, owner: Owner) -> None:
    """So that `promptyard status` needs no REDIS_URL beside `promptyard up`."""
    assert running_url(home) == owner.url
    assert running_url(home / "other") is None


@pytest.mark.parametrize("shared", [True, False])
def test_a_server_is_joined_only_while_its_owner_shares_it(home: Path, shared: bool) -> None:
    """One that a run has started ends with the run; one whose owner is gone ends soon."""
    assert shared_url(home) is None
    with EmbeddedServer(home, persist=False, shared=shared) as server:
        assert shared_url(home) == (server.url if shared else None)
    assert shared_url(home) is None


def test_a_leftover_server_is_not_joined(home: Path) -> None:
    """It answers still, but its owner was killed."""
    owner = Owner(home, shared=True)
    try:
        assert shared_url(home) == owner.url
        owner.kill()
        assert alive(owner.server_pid)
        assert shared_url(home) is None
    finally:
        owner.kill()


def test_a_leftover_server_is_ended_before_its_data_is_opened(home: Path, owner: Owner) -> None:
    """Its owner was killed; its data must not be opened twice, and nothing is lost."""
    with redis.Redis.from_url(owner.url) as redis_client:
        redis_client.set("k", "v")
    owner.kill()
    assert alive(owner.server_pid)  # it lingers for its clients
    with EmbeddedServer(home) as server, client(server) as redis_client:
        assert not alive(owner.server_pid)
        assert redis_client.get("k") == "v"


def test_a_leftover_server_ends_by_itself(home: Path) -> None:
    """Even if nobody starts another."""
    owner = Owner(home)
    owner.kill()
    wait_until(lambda: not alive(owner.server_pid), description="the leftover has ended")


def test_a_leftover_that_does_not_answer_is_not_ignored(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Better no start than two servers on one file."""
    monkeypatch.setattr(embedded, "_LEFTOVER_TIMEOUT_S", 0.2)
    monkeypatch.setattr(embedded, "_ANSWER_TIMEOUT_S", 0.2)
    owner = Owner(home)
    os.kill(owner.server_pid, signal.SIGSTOP)
    try:
        owner.kill()
        with pytest.raises(StackError, match="does not answer on port"):
            EmbeddedServer(home).start()
    finally:
        os.kill(owner.server_pid, signal.SIGKILL)
    with EmbeddedServer(home) as server:
        server.check()


def test_a_taken_port_is_tried_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our look at a free port and the server's bind someone may take it."""
    with EmbeddedServer(home.with_name("other"), persist=False) as first:
        taken = int(first.url.split(":")[2].split("/")[0])
        real = embedded._free_port
        ports = iter([taken, taken])
        monkeypatch.setattr(embedded, "_free_port", lambda: next(ports, None) or real())
        with EmbeddedServer(home, persist=False) as second:
            assert second.url != first.url
            with client(second) as redis_client:
                assert redis_client.config_get("dir")["dir"] == str(home / "valkey")


def test_without_a_server_program_the_error_says_what_to_install(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the wheel nor the PATH has one."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(StackError, match="pip install"):
        EmbeddedServer(home).start()


def test_a_home_that_cannot_be_made_is_named() -> None:
    """With the variable that changes it."""
    with pytest.raises(StackError, match="PROMPTYARD_HOME"):
        EmbeddedServer(Path("/proc/nowhere")).start()
