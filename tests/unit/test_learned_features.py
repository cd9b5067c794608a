"""Features of the learned router: against a plain reference, chunk by chunk, and for good."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
import pytest

from promptyard_worker.routing.encoders.static import StaticEncoder
from promptyard_worker.routing.learned.features import (
    BUCKETS,
    VERSION,
    Features,
    Grams,
    features,
    grams,
    joined,
)
from promptyard_worker.routing.learned.surface import NAMES, surface
from promptyard_worker.routing.pieces import HEAD_CHARS, TAIL_CHARS, Pieces, embedded_reader

#: What the features of ``TEXTS`` hash to, by ``VERSION``. Fitted files name the version: if this
#: test fails, the same text gives other features, and VERSION must be raised, with a line here.
FINGERPRINTS: Final = {1: "ab0e21974301a12b", 2: "c92c95ea8ca0b5c0"}

STORY = "The bridge was opened in 1932. It spans the harbour, as you know. Is it old? Very."
TEXTS = (
    "Hi",
    "",
    "What is the capital of France?",
    f"Summarise this for children, in one short sentence:\n\n{STORY}\n\n{STORY}",
    "Fix it, so that it ends at some time:\n```python\nwhile x: x -= 1\n```\n| a | b |\n|---|---|",
    "请用一句话概括下面的文章内容，不要超过二十个字。\n今天天气很好，我们去公园散步。\n他们去了哪里？",
    "كم عدد الأيام في الأسبوع؟ Ответь по-русски, пожалуйста. ありがとう 감사합니다",
    "Solve 3x² + 2·x − 5 = 0 for x ∈ ℝ; is $x > 0$? \\frac{1}{2} costs 5 € [a] {b} <c> 50 % #1 _d_",
    "ha ha ha ha ha ha",
    "word " * 700 + "end?",
    "half \ud83d of a sign 😀",
)
#: One sign of each kind that the surface features count.
SIGNS: Final = {
    "digit": "7", "upper": "Q", "lower": "q", "latin": "é", "greek": "λ", "cyrillic": "ж",
    "hebrew_arabic": "ع", "indic": "क", "thai_lao": "ก", "kana": "あ", "han": "天", "hangul": "한",
    "space": " ", "line": "\n", "tab": "\t", "full_stop": ".", "comma": "，", "question": "؟",
    "exclamation": "!", "colon": ";", "quote": "”", "round": "(", "square": "]", "brace": "{",
    "angle": "<", "equals": "=", "operator": "×", "maths": "∑", "dollar": "€", "percent": "%",
    "backslash": "\\", "bar": "|", "hash": "#", "dash": "—", "underscore": "_", "backtick": "`",
    "emoji": "😀",
}  # fmt: skip
#: A sign of no kind.
RUNE: Final = "\u16a0"


def read(texts: Sequence[str]) -> list[Pieces]:
    """The pieces of some texts."""
    return embedded_reader().read(texts)


def entries(found: Grams) -> list[tuple[int, int, float]]:
    """Row, bucket and value of every entry, sorted."""
    values = found.values.astype(float).round(5).tolist()
    return sorted(zip(found.rows.tolist(), found.columns.tolist(), values, strict=True))


def of_row(found: Grams, row: int) -> list[tuple[int, float]]:
    """Bucket and value of the entries of one text."""
    return [(bucket, value) for place, bucket, value in entries(found) if place == row]


def mixed(value: int) -> int:
    """MurmurHash3's finaliser, one round, on a 64-bit number."""
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD % 2**64
    return value ^ value >> 33


def buckets(ids: list[int], *, view: int, sizes: range) -> set[int]:
    """The buckets of the n-grams of one view of one text; none that holds a 0."""
    found = set()
    for n in sizes:
        for start in range(len(ids) - n + 1):
            value = view * 8 + n
            for piece in ids[start : start + n]:
                value = mixed(value ^ piece)
            if 0 not in ids[start : start + n]:
                found.add(value % BUCKETS)
    return found


def other_script(text: str) -> list[int]:
    """The letters from Greek on; a 0 for each other character."""
    signs = {*range(0x370), *range(0x2000, 0x2E80), 0xFEFF}
    return [0 if ord(sign) in signs else ord(sign) for sign in text]


def reference(pieces: Pieces) -> list[tuple[int, float]]:
    """What ``grams`` shall find in one text, the slow way."""
    reader = embedded_reader()
    marks = {reader.piece_id(mark) for mark in "?？؟"}
    whole, first, last = pieces.whole.tolist(), pieces.first.tolist(), pieces.last.tolist()
    end = max((place + 1 for place, piece in enumerate(whole) if piece in marks), default=0)
    signs = other_script(pieces.text)
    begin, finish = pieces.first_chars, pieces.last_chars or pieces.first_chars
    views = (
        buckets(whole, view=0, sizes=range(1, 3)),
        buckets(first[:40], view=1, sizes=range(1, 4)),
        buckets((last or first)[-40:], view=2, sizes=range(1, 4)),
        buckets(whole[max(0, end - 24) : end], view=3, sizes=range(1, 3)),
        buckets(signs, view=4, sizes=range(2, 4)),
        buckets(signs[:begin][:80], view=5, sizes=range(1, 4)),
        buckets(signs[len(signs) - finish :][-80:], view=6, sizes=range(1, 4)),
    )
    return sorted((bucket, round(len(view) ** -0.5, 5)) for view in views for bucket in view)


def test_grams_are_those_of_a_plain_loop() -> None:
    """Every view and length of every text, each n-gram once, each view of length 1."""
    pieces = read(TEXTS)
    found = grams(pieces)
    assert [of_row(found, row) for row in range(len(TEXTS))] == [*map(reference, pieces)]
    assert found.rows.tolist() == sorted(found.rows.tolist())
    assert (found.columns.min() >= 0, found.columns.max() < BUCKETS) == (True, True)


def test_grams_do_not_cross_from_one_text_into_the_next() -> None:
    """Two texts beside each other are not their sum."""
    apart, together = grams(read(["green", "apples"])), grams(read(["green apples"]))
    known = {bucket for _, bucket, _ in entries(apart)}
    assert known == {
        bucket for text in ("green", "apples") for bucket, _ in of_row(grams(read([text])), 0)
    }
    assert {bucket for bucket, _ in of_row(together, 0)} - known


def alike(left: Features, right: Features) -> bool:
    """Whether two chunks have the same features."""
    return (
        entries(left.grams) == entries(right.grams)
        and np.array_equal(left.surface, right.surface)
        and np.allclose(left.vectors, right.vectors, atol=1e-6)
    )


def test_a_chunk_has_the_features_of_its_texts() -> None:
    """However it is divided."""
    encoder = StaticEncoder()
    whole = features(read(TEXTS), encoder.encode(TEXTS))
    for size in (1, 4, len(TEXTS)):
        chunks = [TEXTS[start : start + size] for start in range(0, len(TEXTS), size)]
        parts = [features(read(chunk), encoder.encode(chunk)) for chunk in chunks if any(chunk)]
        if size > 1:
            assert alike(joined(parts), whole)
        texts = [text for chunk in chunks if any(chunk) for text in chunk]
        assert alike(joined(parts), features(read(texts), encoder.encode(texts)))


def test_the_same_text_has_the_same_features_for_good() -> None:
    """In every process; a fitted file is of no use to other features."""
    pieces = read(TEXTS)
    digest = hashlib.sha256(repr(entries(grams(pieces))).encode())
    digest.update(repr(surface(pieces).astype(float).round(3).tolist()).encode())
    assert FINGERPRINTS[VERSION] == digest.hexdigest()[:16]
    found = grams(read(["Hi?"]))
    assert {bucket for bucket, _ in of_row(found, 0)} == {
        194716, 324359, 338005, 866031, 896747, 960279,
        1270455, 1329708, 1463628, 1464017, 1644575, 1691812,
    }  # fmt: skip
    assert found.values == pytest.approx(3**-0.5)


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b"])
def test_a_text_without_pieces_has_no_grams(text: str) -> None:
    """And harms none beside it."""
    found = features(read([text, "a sound text"]), np.zeros((2, 3), dtype=np.float32))
    assert of_row(found.grams, 0) == []
    assert of_row(found.grams, 1) == of_row(grams(read(["a sound text"])), 0)
    assert found.surface.shape == (2, len(NAMES))
    assert np.isfinite(found.surface).all()


def test_a_lone_surrogate_reads_as_a_question_mark() -> None:
    """So does the text that is sent; neither fails the chunk."""
    broken, sound = (
        features(read([text]), np.zeros((1, 1), dtype=np.float32)) for text in ("a \ud83d", "a ?")
    )
    assert alike(broken, sound)


def test_a_text_of_megabytes_is_cut() -> None:
    """Its two ends are its features; its length is told."""
    text = f"Begin here. {'lorem ipsum ' * 450_000} End there."
    cut = f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}"
    long, short = read([text, cut])
    assert entries(grams([long])) == entries(grams([short]))
    own, other = surface([long, short])
    assert NAMES[0] == "log_chars"
    assert own[0] == pytest.approx(np.log1p(len(text)))
    assert own[1:].tolist() == other[1:].tolist()


def column(text: str, name: str) -> float:
    """One surface feature of one text."""
    return float(surface(read([text]))[0, NAMES.index(name)])


def test_surface_columns_have_a_name_each() -> None:
    """None twice; two for each kind of sign."""
    assert len(set(NAMES)) == len(NAMES)
    assert [name[6:] for name in NAMES if name.startswith("share_")] == list(SIGNS)
    assert NAMES[-len(SIGNS) :] == tuple(f"log_{kind}" for kind in SIGNS)


@pytest.mark.parametrize("kind", SIGNS)
def test_a_sign_counts_for_its_kind_alone(kind: str) -> None:
    """As a share of the text, and as the logarithm of how many there are."""
    (row,) = surface(read([f"{RUNE}{SIGNS[kind] * 2}{RUNE}"]))
    kinds = {f"{what}_{name}" for what in ("share", "log") for name in SIGNS}
    counted = {
        name: value
        for name, value in zip(NAMES, row.tolist(), strict=True)
        if value and name in kinds
    }
    assert counted == pytest.approx({f"share_{kind}": 2 / 4, f"log_{kind}": np.log1p(2)})


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("log_chars", "  four  ", np.log1p(8)),
        (
            "log_first_chars",
            f"Is this the first line of three, or is it none?\n{STORY}",
            np.log1p(47),
        ),
        ("log_last_chars", f"{STORY}\nIs this the last of two lines?", np.log1p(30)),
        ("log_last_chars", "A single sentence.", 0),
        ("log_pieces", "one two three", np.log1p(3)),
        ("ends_with_question", "Is it?", 1),
        ("ends_with_question", "是吗？", 1),
        ("ends_with_question", "Is it? Say so.", 0),
        ("begins_lower", "is it?", 1),
        ("begins_lower", "Is it?", 0),
        ("has_fence", "Mend ```x``` now", 1),
        ("has_fence", "Mend `x` now", 0),
    ],
)
def test_a_column_is_what_its_name_says(name: str, text: str, expected: float) -> None:
    """By hand."""
    assert column(text, name) == pytest.approx(expected)
