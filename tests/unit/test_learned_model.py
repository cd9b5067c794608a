"""FittedRouter: what its heads say, what it keeps in a file, which files it refuses."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptyard.errors import RouterFileError
from promptyard_worker.routing.curve import OperatingPoint
from promptyard_worker.routing.encoders.static import StaticEncoder
from promptyard_worker.routing.learned.features import BUCKETS, Features, features
from promptyard_worker.routing.learned.model import (
    CLIP,
    FitReport,
    FittedRouter,
    Heads,
    encoder_identity,
)
from promptyard_worker.routing.pieces import embedded_reader
from promptyard_worker.routing.stages import EncoderConfig

TEXTS = ("Prove it.", "Is 7 prime?", "Translate: the cat sat on the mat.", "你好吗？", "x " * 900)
REMEDY = "Write one: promptyard fit LABELLED.jsonl."


def seen() -> Features:
    """The features of the texts."""
    return features(embedded_reader().read(TEXTS), StaticEncoder().encode(TEXTS))


def heads(number: int) -> Heads:
    """Heads with weights by chance, on every fifth bucket."""
    chance = np.random.default_rng(number)
    example = seen()
    dense = example.surface.shape[1] + example.vectors.shape[1]
    grams = chance.integers(-127, 128, (BUCKETS, number)).astype(np.int8)
    grams[np.arange(BUCKETS) % 5 > 0] = 0

    def normal(*shape: int) -> Any:
        return chance.normal(size=shape).astype(np.float32)

    return Heads(
        grams=grams,
        gram_scale=np.abs(normal(number)) / 50,
        dense=normal(dense, number) / 20,
        mean=normal(dense),
        inverse_deviation=np.abs(normal(dense)),
        intercept=normal(number),
        slope=np.abs(normal(number)),
        offset=normal(number),
    )


def router(*, nested: bool = True) -> FittedRouter:
    """A fitted router of three arms."""
    return FittedRouter(
        arms=("lite", "flash", "pro"),
        nested=nested,
        encoder="static::256",
        heads=heads(3 if nested else 2),
        bars=(0.7, 0.4),
        points=(
            OperatingPoint((0.0, 2.0), 0.5, 0.25, (1.0, 0.0, 0.0)),
            OperatingPoint((2.0, 0.1), 1.0, 4.5, (0.0, 0.25, 0.75)),
        ),
        report=FitReport(labels="tier", prompts=99, held_out_by="source", measures={"apgr": 0.8}),
    )


def test_heads_add_up_what_they_weigh() -> None:
    """Against a plain loop: n-grams of the row, standardised and clipped dense features."""
    own, example = heads(2), seen()
    sums = own.sums(example)
    grams = example.grams
    for row in range(len(TEXTS)):
        dense = np.concatenate([example.surface[row], example.vectors[row]])
        scaled = np.clip((dense - own.mean) * own.inverse_deviation, -CLIP, CLIP)
        for head in range(2):
            total = float(own.intercept[head]) + float(scaled @ own.dense[:, head])
            for place in np.flatnonzero(grams.rows == row):
                weight = own.gram_scale[head] * own.grams[grams.columns[place], head]
                total += float(weight * grams.values[place])
            assert sums[row, head] == pytest.approx(total, abs=1e-4)
    expected = 1 / (1 + np.exp(-(own.slope * sums + own.offset)))
    assert own.probabilities(example) == pytest.approx(expected)


def test_of_tier_labels_a_dearer_arm_is_never_less_probable() -> None:
    """The heads share the probability out; summed from the cheap end it rises to 1."""
    fitted = router()
    found = fitted.probabilities(seen())
    assert found.shape == (len(TEXTS), 3)
    assert (np.diff(found, axis=1) >= 0).all()
    assert (found[:, -1] == 1).all()
    assert (found >= 0).all()
    shares = fitted.heads.probabilities(seen())
    assert found[:, 0] == pytest.approx(shares[:, 0] / shares.sum(axis=1))


def test_of_outcomes_each_arm_is_good_enough_by_itself() -> None:
    """The dearest takes what is left."""
    fitted = router(nested=False)
    found = fitted.probabilities(seen())
    assert found[:, :2].tolist() == fitted.heads.probabilities(seen()).tolist()
    assert (found[:, -1] == 1).all()


@pytest.mark.parametrize("nested", [True, False])
def test_a_file_gives_the_router_back(tmp_path: Path, nested: bool) -> None:
    """Bit by bit; what lay there is replaced as a whole."""
    path = tmp_path / "fit.npz"
    path.write_text("an older one")
    fitted = router(nested=nested)
    fitted.save(path)
    found = FittedRouter.load(path)
    for name in ("arms", "nested", "encoder", "bars", "points", "report"):
        assert getattr(found, name) == getattr(fitted, name)
    assert np.array_equal(found.heads.grams, fitted.heads.grams)
    assert np.array_equal(found.probabilities(seen()), fitted.probabilities(seen()))
    assert [file.name for file in tmp_path.iterdir()] == ["fit.npz"]


@pytest.mark.parametrize("kept", [0, 1])
def test_buckets_at_either_end_are_kept(tmp_path: Path, kept: int) -> None:
    """So is a router without any word."""
    grams = np.zeros((BUCKETS, 3), dtype=np.int8)
    grams[[0, BUCKETS - 1]] = kept
    fitted = replace(router(), heads=replace(heads(3), grams=grams))
    fitted.save(tmp_path / "fit.npz")
    found = FittedRouter.load(tmp_path / "fit.npz")
    assert np.array_equal(found.heads.grams, grams)


def saved(folder: Path) -> bytes:
    """The bytes of a good file."""
    router().save(folder / "good.npz")
    return (folder / "good.npz").read_bytes()


def refusal(folder: Path, content: bytes) -> str:
    """What is said of a file with this content."""
    path = folder / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(RouterFileError) as caught:
        FittedRouter.load(path)
    message = str(caught.value)
    assert message.startswith(f"learned.file: {path} ")
    return message.removeprefix(f"learned.file: {path} ")


def npz(**arrays: Any) -> bytes:
    """An archive of arrays."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def changed(content: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The file with something else in its description."""
    with np.load(io.BytesIO(content)) as stored:
        arrays = dict(stored)
    about = json.loads(arrays["about"].tobytes())
    change(about)
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
    return npz(**arrays)


@pytest.mark.parametrize("key", ["format", "features"])
def test_a_file_of_another_version_is_refused(tmp_path: Path, key: str) -> None:
    """It names both, and what to do."""
    other = changed(saved(tmp_path), lambda about: about.update({key: 99}))
    message = refusal(tmp_path, other)
    assert message.startswith("was written by another version of Promptyard (format and features ")
    assert "99" in message
    assert message.endswith("Fit it again: promptyard fit LABELLED.jsonl.")


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_file_cut_short_is_refused(tmp_path: Path, part: float) -> None:
    """Wherever the copy stopped."""
    content = saved(tmp_path)
    message = refusal(tmp_path, content[: int(len(content) * part)])
    assert message.startswith("is no fitted router (")
    assert message.endswith(REMEDY)


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_a_damaged_file_is_refused(tmp_path: Path, place: float) -> None:
    """Its checksums say so."""
    content = bytearray(saved(tmp_path))
    start = int(len(content) * place)
    content[start : start + 64] = bytes(64)
    assert refusal(tmp_path, bytes(content)).endswith(REMEDY)


class Trap:
    """Runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_what_others_wrote_is_refused(tmp_path: Path) -> None:
    """Archives, arrays, texts; the part that is missing is not guessed."""
    content = saved(tmp_path)
    array = io.BytesIO()
    np.save(array, np.arange(3))
    foreign = (
        npz(weights=np.arange(3)),
        npz(about=np.frombuffer(b"[1, 2]", dtype=np.uint8)),
        npz(about=np.frombuffer(b"{", dtype=np.uint8)),
        changed(content, lambda about: about.pop("arms")),
        changed(content, lambda about: about.update(points=[1])),
        changed(content, lambda about: about["report"].update(more=1)),
        array.getvalue(),
        b"version: 1\n",
    )
    for file in foreign:
        message = refusal(tmp_path, file)
        assert message.startswith("is no fitted router (")
        assert message.endswith(REMEDY)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    """A pickle is refused before it is read, alone and within an archive."""
    mark = tmp_path / "mark"
    refusal(tmp_path, pickle.dumps(Trap(mark)))
    refusal(tmp_path, npz(about=np.array([Trap(mark)], dtype=object)))
    assert not mark.exists()


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    """Missing, or a folder."""
    for path, why in ((tmp_path / "none.npz", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(RouterFileError) as caught:
            FittedRouter.load(path)
        assert str(caught.value).startswith(f"learned.file: {path} cannot be read: {why}")


def test_an_encoder_is_known_by_what_makes_its_vectors() -> None:
    """Where a table lies, how many texts a minute, or a key among the options: no part of it."""
    configs = (
        EncoderConfig(),
        EncoderConfig(path=Path("/one/table")),
        EncoderConfig(type="gemini", name="embedding-1"),
        EncoderConfig(type="gemini", name="embedding-1", task_type="CLASSIFICATION"),
    )
    names = [encoder_identity(config, 256) for config in configs]
    assert len({*names, encoder_identity(EncoderConfig(), 128)}) == 5
    assert names[0] == "static::256"
    assert names[1] == encoder_identity(EncoderConfig(path=Path("/two/table")), 256)
    patient = EncoderConfig(type="gemini", name="embedding-1", texts_per_minute=9)
    assert names[2] == encoder_identity(patient, 256)
    keyed = EncoderConfig(type="module:Class", options={"api_key": "secret"})
    assert "secret" not in encoder_identity(keyed, 256)
