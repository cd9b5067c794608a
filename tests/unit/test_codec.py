"""How records are packed."""

from __future__ import annotations

import threading

import pytest
import zstandard

from promptyard.store.codec import COMPRESS_ABOVE_BYTES, decode, encode

MAGIC = b"\x28\xb5\x2f\xfd"


@pytest.mark.parametrize("size", [0, 1, COMPRESS_ABOVE_BYTES, COMPRESS_ABOVE_BYTES + 1, 500_000])
def test_what_is_packed_comes_back(size: int) -> None:
    """Below, at and above the bound; zstd only above it."""
    body = b"x" * size
    packed = encode(body)
    assert decode(packed) == body
    assert packed.startswith(MAGIC) == (size > COMPRESS_ABOVE_BYTES)


def test_the_bound_counts_bytes_not_letters() -> None:
    """A short text of long letters is packed too."""
    text = "漢" * (COMPRESS_ABOVE_BYTES // 3 + 1)
    assert len(text) < COMPRESS_ABOVE_BYTES
    packed = encode(text)
    assert packed.startswith(MAGIC)
    assert decode(packed).decode() == text


def test_long_prompts_shrink() -> None:
    """A page of JSON takes less than half."""
    page = '{"contents": "' + "The quick brown fox jumps over the lazy dog. " * 60 + '"}'
    assert len(encode(page)) < len(page) / 2


@pytest.mark.parametrize("body", [MAGIC, MAGIC + b"junk", encode("y" * 5000)[:-5]])
def test_damage_is_told(body: bytes) -> None:
    """A body that begins as zstd and is none raises, and gives no half text."""
    with pytest.raises(zstandard.ZstdError):
        decode(body)


def test_threads_have_their_own_contexts() -> None:
    """zstd's contexts may not be shared; many threads at once give no wrong byte."""
    wrong: list[int] = []

    def work(seed: int) -> None:
        body = bytes((seed + n) % 251 for n in range(20_000))
        if any(decode(encode(body)) != body for _ in range(50)):
            wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
