"""A result file: JSONL of JobResult, in the order in which jobs ended.

The file appears under its name only when it is complete; until then it is ``NAME.part``.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from promptyard.errors import PromptyardError, SettingsError
from promptyard.job import JobResult


def encode_result(result: JobResult) -> bytes:
    """One line of a result file."""
    return result.model_dump_json().encode() + b"\n"


class ResultWriter:
    """Context manager that writes a result file; usable from several threads.

    Left by an exception, it leaves ``NAME.part`` behind and does not touch ``NAME``.

    Raises:
        SettingsError: the path cannot be written to; known before any work is done.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        #: Lines written.
        self.count = 0
        self._target = path.resolve()
        # A device or a pipe (/dev/stdout, /dev/null) is written to, never replaced.
        self._in_place = self._target.exists() and not self._target.is_file()
        part = self._target.with_name(self._target.name + ".part")
        self._file_path = self._target if self._in_place else part
        self._lock = threading.Lock()
        try:
            self._file = self._file_path.open("wb", buffering=1 << 16)
        except OSError as error:
            raise SettingsError(
                f"{path} cannot be written ({error.strerror}): give another output path."
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.finish()
        elif not self._file.closed:
            self._file.close()
            if not self.count and not self._in_place:
                self._file_path.unlink(missing_ok=True)

    def write(self, result: JobResult) -> None:
        """Add a line.

        Raises:
            PromptyardError: the disk is full, or gone.
        """
        line = encode_result(result)
        try:
            with self._lock:
                self._file.write(line)
                self.count += 1
        except OSError as error:
            raise self._failed(error) from None

    def restart(self) -> bool:
        """Begin the file anew; False if it is a pipe or a device: what was written stands.

        Raises:
            PromptyardError: the disk is full, or gone.
        """
        if self._in_place:
            return False
        try:
            with self._lock:
                self._file.seek(0)
                self._file.truncate()
                self.count = 0
        except OSError as error:
            raise self._failed(error) from None
        return True

    def finish(self) -> None:
        """Put the complete file in its place; once.

        Raises:
            PromptyardError: the disk is full, or gone.
        """
        if self._file.closed:
            return
        try:
            self._file.flush()
            if not self._in_place:
                os.fsync(self._file.fileno())
            self._file.close()
            if not self._in_place:
                self._file_path.replace(self._target)
        except OSError as error:
            raise self._failed(error) from None

    def leave(self) -> Path:
        """Close the file as it is: there is more to come, another time. Gives where it is.

        Raises:
            PromptyardError: the disk is full, or gone.
        """
        try:
            self._file.close()
        except OSError as error:
            raise self._failed(error) from None
        return self.path if self._in_place else self.path.with_name(self._file_path.name)

    def _failed(self, error: OSError) -> PromptyardError:
        return PromptyardError(
            f"{self.path} cannot be written ({error.strerror}): make room and run again; "
            "finished jobs are kept and not paid again."
        )
