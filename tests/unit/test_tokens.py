"""Token estimates of the stand-in."""

from __future__ import annotations

import pytest

from promptyard_worker.tokens import IMAGE_TOKENS, count, count_part, fit


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
