"""How records lie in Redis: JSON, zstd above 1 kB; and back."""

from __future__ import annotations

import threading
from typing import Final

import zstandard

#: Smaller bodies are stored as they are: below this zstd saves less than it costs.
COMPRESS_ABOVE_BYTES: Final = 1024
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_LEVEL: Final = 3
#: No record may unpack to more (a corrupt frame must not eat the memory).
_MAX_BYTES: Final = 256 * 1024 * 1024

_local = threading.local()  # zstd contexts are not thread-safe


def encode(text: str | bytes) -> bytes:
    """Pack a JSON text for storage."""
    body = text.encode() if isinstance(text, str) else text
    if len(body) <= COMPRESS_ABOVE_BYTES:
        return body
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=_LEVEL)
    packed: bytes = _local.compressor.compress(body)
    return packed


def decode(body: bytes) -> bytes:
    """Unpack what ``encode`` packed.

    Raises:
        zstandard.ZstdError: the body is damaged.
    """
    if not body.startswith(_ZSTD_MAGIC):
        return body
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    unpacked: bytes = _local.decompressor.decompress(body, max_output_size=_MAX_BYTES)
    return unpacked
