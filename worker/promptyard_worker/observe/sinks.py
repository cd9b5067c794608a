"""Where the lines of the decision log go: standard output, a file, a stream in Redis."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Protocol

from promptyard.errors import SettingsError
from promptyard.store import decisions

if TYPE_CHECKING:
    from promptyard.store import Store

#: A file is put aside at this size, and so many are kept.
FILE_BYTES: Final = 64 * 1024 * 1024
FILES_KEPT: Final = 10


class Sink(Protocol):
    """A place for lines of JSON."""

    def write(self, lines: Sequence[str]) -> None:
        """Write all of them.

        Raises:
            OSError: the file system or whoever reads the output refuses.
            StoreError: Redis refuses.
        """


class StandardOutput:
    """For whoever collects the output of processes.

    The handle itself: Celery puts a log in place of ``sys.stdout``, and a thread that waits in
    Python's own buffer for a reader who has stopped would keep the process from ending.
    """

    def __init__(self, handle: int = 1) -> None:
        self._handle = handle

    def write(self, lines: Sequence[str]) -> None:
        """Write."""
        view = memoryview(_joined(lines))
        while view:
            view = view[os.write(self._handle, view) :]


class RotatingFile:
    """A file that is put aside when it is large; all workers of a host may write to one.

    Args:
        path: of the file; those put aside have ``.1`` (the last) and so on behind it.
        limit_bytes: a file that has reached it is put aside.
        kept: how many of those are kept.
    """

    def __init__(
        self, path: Path, *, limit_bytes: int = FILE_BYTES, kept: int = FILES_KEPT
    ) -> None:
        self._path = path
        self._limit_bytes = limit_bytes
        self._kept = kept
        path.parent.mkdir(parents=True, exist_ok=True)
        self.write(())  # better now than with the first job

    def write(self, lines: Sequence[str]) -> None:
        """Append."""
        data = _joined(lines)
        with self._path.open("ab", buffering=0) as file:
            # two processes that both find it large would put it aside twice
            fcntl.flock(file, fcntl.LOCK_EX)
            _write_all(file, data)
            if os.fstat(file.fileno()).st_size >= self._limit_bytes and _is_at(self._path, file):
                self._put_aside()

    def _put_aside(self) -> None:
        """The next open makes a new file."""
        free = next(n for n in count(1) if n == self._kept or not self._numbered(n).exists())
        for number in range(free, 1, -1):
            self._numbered(number - 1).replace(self._numbered(number))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class RedisStream:
    """A capped stream: :func:`promptyard.store.decisions.lines` reads it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(self, lines: Sequence[str]) -> None:
        """Append, in one round trip."""
        self._store.do_many([decisions.append(line) for line in lines])


def make_sink(where: str, store: Store) -> Sink:
    """The sink of a setting: ``stdout``, ``redis``, or the path of a file.

    Raises:
        SettingsError: the file cannot be written.
    """
    if where == "stdout":
        return StandardOutput()
    if where == "redis":
        return RedisStream(store)
    try:
        return RotatingFile(Path(where))
    except OSError as error:
        raise SettingsError(
            f"The decision log {where} cannot be written: {error.strerror}. Set "
            "PROMPTYARD_DECISION_LOG to stdout, redis or a file in a folder you may write."
        ) from error


def _joined(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode(errors="replace")


def _write_all(file: IO[bytes], data: bytes) -> None:
    """A full disk takes a part: the rest of the line must follow it, or be an error."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _is_at(path: Path, file: IO[bytes]) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
