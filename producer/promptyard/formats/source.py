"""An input file: found, spooled if it can be read only once, and identified by its content."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from promptyard.errors import InputError

#: Names standard input where a file is expected.
STDIN = "-"


@contextlib.contextmanager
def open_source(name: str) -> Iterator[Path]:
    """Path of a regular file with the input's bytes, for as long as the block runs.

    Standard input (``-``) and pipes are copied to a temporary file, since an input is
    read twice: once for its identity, once for its jobs.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    path = Path(name)
    try:
        if name != STDIN and path.is_file():
            yield path
        elif name != STDIN and not path.exists():
            raise InputError(
                f"{name} does not exist: give the path of a JSONL file, or - for stdin."
            )
        elif path.is_dir():
            raise InputError(f"{name} is a folder: give the path of a JSONL file in it.")
        else:
            with tempfile.NamedTemporaryFile(prefix="promptyard-", suffix=".jsonl") as spool:
                with contextlib.ExitStack() as stack:
                    pipe = (
                        sys.stdin.buffer if name == STDIN else stack.enter_context(path.open("rb"))
                    )
                    shutil.copyfileobj(pipe, spool, 1 << 20)
                spool.flush()
                yield Path(spool.name)
    except PermissionError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}): check its rights.") from None


def content_identity(path: Path) -> str:
    """SHA-256 of the file's bytes, in hex: the same content is the same run."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
