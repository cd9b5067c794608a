"""Embeddings that are not paid for twice: of utterances on disk, of prompts in memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from promptyard_worker.routing import cache
from promptyard_worker.routing.cache import RecentVectors, UtteranceCache, key_of
from promptyard_worker.routing.encoders.base import Vectors


class Counting:
    """Embeds a text as its length, and notes what it was asked."""

    def __init__(self, size: int = 3) -> None:
        self.size = size
        self.calls: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> Vectors:
        """One row a text."""
        self.calls.append(list(texts))
        return np.array([[len(text)] * self.size for text in texts], dtype=np.float32)


def test_a_second_start_embeds_nothing(tmp_path: Path) -> None:
    """The rows come back as they were, in any order."""
    first, second = Counting(), Counting()
    rows = UtteranceCache(tmp_path, "e").vectors(["a", "bb", "ccc"], first)
    again = UtteranceCache(tmp_path, "e").vectors(["ccc", "a", "bb"], second)
    assert second.calls == []
    assert np.array_equal(again, rows[[2, 0, 1]])
    assert again.dtype == np.float32


def test_only_new_utterances_are_embedded(tmp_path: Path) -> None:
    """Each once, also where the file has it twice."""
    embed = Counting()
    UtteranceCache(tmp_path, "e").vectors(["a", "bb"], embed)
    rows = UtteranceCache(tmp_path, "e").vectors(["a", "dddd", "dddd", "bb"], embed)
    assert embed.calls == [["a", "bb"], ["dddd"]]
    assert rows[:, 0].tolist() == [1, 4, 4, 2]


def test_encoders_do_not_share(tmp_path: Path) -> None:
    """Another model, dimension or task is another file."""
    first, second = Counting(), Counting(size=5)
    UtteranceCache(tmp_path, "one").vectors(["a"], first)
    assert UtteranceCache(tmp_path, "two").vectors(["a"], second).shape == (1, 5)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "damage", ["empty", "cut", "flipped", "text", "pickle", "array", "foreign"]
)
def test_a_file_that_cannot_be_used_is_written_anew(tmp_path: Path, damage: str) -> None:
    """Whatever it is, the worker starts."""
    path = UtteranceCache(tmp_path, "e").path
    UtteranceCache(tmp_path, "e").vectors(["a", "bb"], Counting())
    content = path.read_bytes()
    middle = len(content) // 2
    if damage == "array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif damage == "foreign":
        other = UtteranceCache(tmp_path, "other")
        other.vectors(["a"], Counting(size=9))
        other.path.replace(path)
    else:
        flipped = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
        forms = {"empty": b"", "cut": content[:middle], "flipped": flipped}
        path.write_bytes(forms.get(damage, b"\x80\x04N." if damage == "pickle" else b"hello"))
    embed, after = Counting(), Counting()
    assert UtteranceCache(tmp_path, "e").vectors(["a", "bb"], embed)[:, 0].tolist() == [1, 2]
    assert embed.calls == [["a", "bb"]]
    UtteranceCache(tmp_path, "e").vectors(["a", "bb"], after)
    assert after.calls == []


def test_every_damaged_byte_is_survived(tmp_path: Path) -> None:
    """The rows are right, or are embedded again; never wrong, never an exception."""
    made = UtteranceCache(tmp_path, "e")
    rows = made.vectors(["a", "bb"], Counting())
    content = made.path.read_bytes()
    for place in range(len(content)):
        made.path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert np.array_equal(UtteranceCache(tmp_path, "e").vectors(["a", "bb"], Counting()), rows)


def test_a_model_that_changes_under_its_name_is_embedded_anew(tmp_path: Path) -> None:
    """Vectors of another length cannot be mixed with the old ones."""
    UtteranceCache(tmp_path, "e").vectors(["a", "bb"], Counting(size=3))
    embed, after = Counting(size=4), Counting(size=4)
    assert UtteranceCache(tmp_path, "e").vectors(["a", "bb", "ccc"], embed).shape == (3, 4)
    UtteranceCache(tmp_path, "e").vectors(["a", "bb", "ccc"], after)
    assert after.calls == []


def test_what_was_embedded_before_a_failure_is_kept(tmp_path: Path) -> None:
    """A start that ends in the middle has not paid for nothing."""
    texts = [f"{n}" for n in range(250)]

    def failing(part: Sequence[str]) -> Vectors:
        if "200" in part:
            raise TimeoutError
        return Counting()(part)

    with pytest.raises(TimeoutError):
        UtteranceCache(tmp_path, "e").vectors(texts, failing)
    rest = Counting()
    UtteranceCache(tmp_path, "e").vectors(texts, rest)
    assert rest.calls == [texts[200:]]


def test_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is used now stays; what was used before goes first."""
    monkeypatch.setattr(cache, "MOST_FILE_BYTES", 4 * 3 * 4)  # four rows of three floats
    UtteranceCache(tmp_path, "e").vectors(["a", "bb", "ccc"], Counting())
    UtteranceCache(tmp_path, "e").vectors(["ccc", "dddd", "eeeee"], Counting())
    embed = Counting()
    UtteranceCache(tmp_path, "e").vectors(["ccc", "dddd", "eeeee", "a", "bb"], embed)
    assert embed.calls == [["bb"]]


def test_the_folder_is_bounded(tmp_path: Path) -> None:
    """The file that was not used for longest goes; files that are not ours stay."""
    (tmp_path / "notes.npz").write_text("mine")
    for number in range(cache.MOST_FILES):
        made = UtteranceCache(tmp_path, f"{number}")
        made.vectors(["a"], Counting())
        os.utime(made.path, (number, number))
    UtteranceCache(tmp_path, "0").vectors(["a"], Counting())  # used again
    UtteranceCache(tmp_path, "new").vectors(["a"], Counting())
    kept = {path.name for path in tmp_path.iterdir()}
    assert len(kept) == cache.MOST_FILES + 1
    assert {"notes.npz", UtteranceCache(tmp_path, "0").path.name} < kept
    assert UtteranceCache(tmp_path, "1").path.name not in kept


def test_workers_that_start_together_leave_a_whole_file(tmp_path: Path) -> None:
    """The last one wins; nobody reads half a file."""
    texts = [f"{n}" for n in range(120)]
    with ThreadPoolExecutor(4) as pool:
        starts = [
            pool.submit(UtteranceCache(tmp_path, "e").vectors, texts, Counting()) for _ in range(40)
        ]
        assert len({start.result().tobytes() for start in starts}) == 1
    embed = Counting()
    UtteranceCache(tmp_path, "e").vectors(texts, embed)
    assert embed.calls == []
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]


def test_a_folder_that_cannot_be_written_costs_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker starts all the same."""
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        rows = UtteranceCache(tmp_path / "file" / "folder", "e").vectors(["a"], Counting())
    assert rows.shape == (1, 3)
    assert "each start pays" in caplog.text


def test_recent_vectors_forget_what_was_not_used() -> None:
    """Bounded by bytes; looking up counts as use."""
    recent = RecentVectors(most_bytes=3 * 16)
    rows = np.arange(16, dtype=np.float32).reshape(4, 4)
    keys = [key_of(name) for name in "abcd"]
    recent.put(dict(zip(keys[:3], rows[:3], strict=True)))
    recent.get([keys[0]])
    recent.put({keys[3]: rows[3]})
    found = recent.get(keys)
    assert set(found) == {keys[0], keys[2], keys[3]}
    assert np.array_equal(found[keys[2]], rows[2])


def test_recent_vectors_do_not_hold_on_to_the_chunk() -> None:
    """A row is copied: a view would keep the whole array alive."""
    recent = RecentVectors(most_bytes=1000)
    rows = np.ones((2, 4), dtype=np.float32)
    recent.put({b"k": rows[0]})
    rows[:] = 7
    assert recent.get([b"k"])[b"k"].tolist() == [1, 1, 1, 1]


def test_a_text_is_not_an_image() -> None:
    """The same bytes have two keys."""
    assert key_of("abc") != key_of(b"abc")
    assert key_of("lone \ud800 surrogate")
