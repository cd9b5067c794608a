"""Embeddings that need not be paid for again: of prompts in memory, of utterances on disk."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from promptyard_worker.routing.encoders.base import Vectors

#: A content hash.
Key = bytes
Rows = dict[Key, Vectors]

KEY_BYTES: Final = 16
#: Utterances embedded at once; what a failure leaves of the rest is kept.
PART: Final = 100
#: Most bytes of vectors in one file: 10,900 utterances of 3,072 dimensions.
MOST_FILE_BYTES: Final = 128 * 2**20
#: Files kept, one an encoder; the one not used for longest goes first.
MOST_FILES: Final = 8
_PATTERN: Final = "utterances-*.npz"

log = logging.getLogger(__name__)


def key_of(content: str | bytes) -> Key:
    """The content hash of a text or an image."""
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    # A text is never taken for an image.
    return hashlib.blake2b(
        data, digest_size=KEY_BYTES, person=type(content).__name__.encode()
    ).digest()


class RecentVectors:
    """The vectors used last; safe to use from several threads."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._rows: OrderedDict[Key, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, keys: Sequence[Key]) -> Rows:
        """Those of the keys that are known."""
        with self._lock:
            known = {key: self._rows[key] for key in keys if key in self._rows}
            for key in known:
                self._rows.move_to_end(key)
            return known

    def put(self, rows: Mapping[Key, Vectors]) -> None:
        """Keep the rows; forget the oldest ones beyond the bound."""
        with self._lock:
            for key, row in rows.items():
                if key not in self._rows:
                    self._rows[key] = row.copy()  # not the whole array it is a part of
                    self._bytes += row.nbytes
            while self._bytes > self._most_bytes:
                _, oldest = self._rows.popitem(last=False)
                self._bytes -= oldest.nbytes


class UtteranceCache:
    """One file for each encoder, so that starting a worker embeds no known utterance."""

    def __init__(self, folder: Path, identity: str) -> None:
        """Name the file; nothing is read yet.

        Args:
            folder: of all caches; made if it is not there.
            identity: all that the vectors depend on, the texts aside.
        """
        self._digest = hashlib.sha256(identity.encode()).hexdigest()
        self.path = folder / f"utterances-{self._digest[:16]}.npz"

    def vectors(self, texts: Sequence[str], embed: Callable[[Sequence[str]], Vectors]) -> Vectors:
        """One row a text; ``embed`` is called with those that are not on disk."""
        keys = [key_of(text) for text in texts]
        wanted = dict(zip(keys, texts, strict=True))
        on_disk = self._read()
        rows = {key: on_disk[key] for key in wanted if key in on_disk} | on_disk
        # Twice where what is on disk has another length: the model behind the name is new.
        for _ in range(2):
            if missing := {key: text for key, text in wanted.items() if key not in rows}:
                rows = self._completed(rows, missing, embed)
        return np.stack([rows[key] for key in keys])

    def _completed(
        self, rows: Rows, missing: Mapping[Key, str], embed: Callable[[Sequence[str]], Vectors]
    ) -> Rows:
        """The rows and those that are missing, on disk too."""
        left = iter(missing)
        try:
            while part := list(islice(left, PART)):
                vectors = embed([missing[key] for key in part])
                fresh = dict(zip(part, vectors, strict=True))
                size = vectors.shape[1]
                rows = fresh | {key: row for key, row in rows.items() if row.size == size}
        finally:
            if rows:
                self._write(rows)
        return rows

    def _read(self) -> Rows:
        """What is on disk; nothing if that is missing, damaged or another's."""
        try:
            # Opened here: numpy leaves a file it cannot read open.
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                identity, keys, vectors = (arrays[name] for name in ("identity", "keys", "vectors"))
        except Exception:  # a damaged file makes numpy raise this and that
            return {}
        is_ours = (
            str(identity) == self._digest
            and keys.shape == (len(vectors), KEY_BYTES)
            and keys.dtype == np.uint8
            and vectors.ndim == 2
            and vectors.dtype == np.float32
        )
        if not is_ours:
            return {}
        with contextlib.suppress(OSError):
            os.utime(self.path)  # used now
        return dict(zip(map(bytes, keys), vectors, strict=True))

    def _write(self, rows: Rows) -> None:
        """Replace the file at once; a disk that refuses costs the next start, nothing more."""
        most = MOST_FILE_BYTES // next(iter(rows.values())).nbytes
        kept = dict(islice(rows.items(), most))
        keys = np.frombuffer(b"".join(kept), dtype=np.uint8).reshape(-1, KEY_BYTES)
        draft = self.path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                np.savez(
                    file, identity=self._digest, keys=keys, vectors=np.stack(list(kept.values()))
                )
            draft.replace(self.path)
            self._forget_others()
        except OSError as error:
            log.warning(
                "Embeddings of utterances cannot be kept in %s (%s): each start pays for them.",
                self.path.parent,
                error.strerror or type(error).__name__,
                extra={"event": "utterance_cache_unwritable"},
            )
            with contextlib.suppress(OSError):
                draft.unlink()

    def _forget_others(self) -> None:
        with contextlib.suppress(OSError):  # another worker is at it too
            files = sorted(self.path.parent.glob(_PATTERN), key=lambda file: file.stat().st_mtime)
            for file in files[:-MOST_FILES]:
                file.unlink(missing_ok=True)
