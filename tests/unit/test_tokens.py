"""Token estimates of the stand-in."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable

import pytest

from promptyard_worker.tokens import IMAGE_TOKENS, count, count_image, count_part, fit


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 0),
        ("a", 1, 1),
        ("The quick brown fox jumps over the lazy dog.", 9, 12),
        ("Быстрая лиса прыгает через собаку", 10, 16),
        ("敏捷的棕色狐狸跳过了懒狗", 8, 12),
        ("👍👍", 2, 6),
        ("half a pair \ud83d", 3, 5),
    ],
)
def test_estimate_depends_on_the_script(text: str, least: int, most: int) -> None:
    """About 4 Latin, 2.5 Cyrillic or 1.3 Chinese characters make a token."""
    assert least <= count(text) <= most


def test_fit_cuts_to_the_limit() -> None:
    """The cut text has at most as many tokens as asked, and is a start of the text."""
    for text in ("word " * 200, "字" * 200, "a字б👍" * 50):
        for limit in (0, 1, 7, 50):
            cut = fit(text, limit)
            assert count(cut) <= limit
            assert text.startswith(cut)
    assert fit("short", 10) == "short"


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"inlineData": {"mimeType": "image/png", "data": "AAAA" * 1000}}, IMAGE_TOKENS),
        ({"inline_data": {"mime_type": "audio/mp3", "data": "A" * 64_000}}, 96),
        ({"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}}, 263),
        ({"fileData": {"mimeType": "application/pdf", "fileUri": "gs://b/f"}}, 258),
        ({"fileData": {"fileUri": "gs://b/f.png"}}, 258),
    ],
)
def test_media_count_by_kind_and_bytes(part: dict[str, object], expected: int) -> None:
    """Images count as one tile; sound, film and documents by their size."""
    assert count_part(part) == expected


@pytest.mark.parametrize(
    ("size_px", "tiles"),
    [
        ((1, 1), 1),
        ((384, 384), 1),
        ((385, 300), 4),
        ((960, 540), 6),  # Google's own example
        ((540, 960), 6),
        ((4000, 3000), 4),
        ((100_000, 20), 391),
    ],
)
def test_an_image_counts_by_its_tiles(size_px: tuple[int, int], tiles: int) -> None:
    """Squares of its shorter side / 1.5, and no slivers."""
    assert count_image(*size_px) == tiles * IMAGE_TOKENS


def png(width_px: int, height_px: int) -> bytes:
    """The start of a PNG: its signature and its header chunk."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header) - 4) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + bytes(200_000)


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_an_inline_image_is_measured(encode: Callable[[bytes], bytes]) -> None:
    """By its header, in either alphabet of base64; one that cannot be read is one tile."""
    whole = encode(png(960, 540)).decode()
    part = {"inlineData": {"mimeType": "IMAGE/png", "data": whole}}
    assert count_part(part) == 6 * IMAGE_TOKENS
    for damaged in (whole[:20], "%%%", "", encode(png(0, 540)).decode()):
        part = {"inlineData": {"mimeType": "image/png", "data": damaged}}
        assert count_part(part) == IMAGE_TOKENS
