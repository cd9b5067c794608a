"""The home of a local stack: whose it is, and where its server listens."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from promptyard.errors import StackError

#: Local servers listen here and nowhere else.
HOST: Final = "127.0.0.1"


class HomeRecord(NamedTuple):
    """Who started the home's server last, and on which port; zeros if nobody did."""

    owner: int
    port: int
    #: Others may use it: it stays until somebody ends it.
    is_shared: bool = False


def local_url(port: int) -> str:
    """URL of a local server."""
    return f"redis://{HOST}:{port}/0"


def lock_home(home: Path, data: Path) -> BinaryIO:
    """Make the home ours until the returned file is closed (or we end, in any way).

    Raises:
        StackError: another process has it; says which, and what to do.
    """
    file = (data / "owner.lock").open("ab")
    if try_lock(file):
        return file
    file.close()
    record = read_record(data)
    raise StackError(
        f"{home} is in use by process {record.owner}: "
        f"set REDIS_URL={local_url(record.port)} to use its server, "
        "or PROMPTYARD_HOME to another folder for one of your own."
    )


def try_lock(file: BinaryIO) -> bool:
    """Lock an open file; False if another open handle has the lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_record(data: Path, port: int, *, is_shared: bool) -> None:
    """Note down that we start a server on this port."""
    draft = data / "owner.json.new"
    record = HomeRecord(os.getpid(), port, is_shared)
    draft.write_text(json.dumps(record._asdict()))
    draft.replace(data / "owner.json")


def read_record(data: Path) -> HomeRecord:
    """Read what ``write_record`` left."""
    try:
        record = json.loads((data / "owner.json").read_text())
        return HomeRecord(int(record["owner"]), int(record["port"]), bool(record["is_shared"]))
    except (OSError, ValueError, KeyError, TypeError):
        return HomeRecord(0, 0)
