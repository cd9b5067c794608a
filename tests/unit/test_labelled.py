"""read_labelled and split: what counts as a labelled line, and how prompts are divided."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptyard.errors import InputError
from promptyard.job import Job
from promptyard.names import Tier
from promptyard_worker.routing.labelled import Labelled, read_labelled, split


def read(folder: Path, *lines: dict[str, Any] | str, **options: Any) -> Labelled:
    """What is read of a file with these lines."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path = folder / "labelled.jsonl"
    path.write_text("\n".join(texts), encoding="utf-8")
    return read_labelled(path, **options)


def many(number: int, *, sources: int = 0) -> Labelled:
    """Prompts without a file."""
    return Labelled(
        jobs=tuple(Job(contents=f"Prompt {n}.") for n in range(number)),
        tiers=tuple(list(Tier)[n % 3] for n in range(number)),
        scores=None,
        arms=(),
        sources=tuple(f"s{n % sources}" if sources else "" for n in range(number)),
    )


def texts(labelled: Labelled) -> list[str]:
    """The prompts."""
    return [job.text for job in labelled.jobs]


def test_tiers_in_every_form_of_a_prompt(tmp_path: Path) -> None:
    """Prompt, contents, turns with an instruction; keys of other people's data do no harm."""
    turns = [{"parts": [{"text": "Sum it up."}]}]
    labelled = read(
        tmp_path,
        {"id": "a", "prompt": "Prove it.", "tier": "pro", "category": "maths", "config": "main"},
        "",
        {"contents": "Hello.", "tier": "lite", "lang": "en", "model": "theirs", "priority": "x"},
        {"contents": turns, "system_instruction": "Be brief.", "tier": "flash", "scores": None},
    )
    assert labelled.tiers == (Tier.PRO, Tier.LITE, Tier.FLASH)
    assert texts(labelled) == ["Prove it.", "Hello.", "Sum it up."]
    assert labelled.jobs[2].system_instruction == "Be brief."
    assert [job.line for job in labelled.jobs] == [1, 3, 4]
    assert labelled.jobs[0].custom_id == "a"
    assert (labelled.scores, labelled.arms, labelled.problems) == (None, (), ())


def test_the_label_does_not_decide_for_the_router(tmp_path: Path) -> None:
    """Neither the tier nor a model of the line is the job's own."""
    (job,) = read(tmp_path, {"prompt": "Hi.", "tier": "pro", "model": "m"}).jobs
    assert (job.tier, job.model) == (None, None)


def test_scores_are_a_table(tmp_path: Path) -> None:
    """Arms as they first come; NaN where one was not tried; right and wrong are 1 and 0."""
    labelled = read(
        tmp_path,
        {"prompt": "a", "scores": {"big": 1, "small": 0.25}},
        {"prompt": "b", "scores": {"small": True, "big": None}},
        {"prompt": "c", "scores": {"mid": 0.5, "big": False, "small": 0}},
    )
    assert labelled.tiers is None
    assert labelled.arms == ("big", "small", "mid")
    assert labelled.scores is not None
    expected = [[1, 0.25, np.nan], [np.nan, 1, np.nan], [0, 0, 0.5]]
    np.testing.assert_array_equal(labelled.scores, expected)


def test_arms_are_chosen_and_holes_left_out(tmp_path: Path) -> None:
    """What the curve wants: cheapest first, every arm tried."""
    labelled = read(
        tmp_path,
        {"prompt": "a", "scores": {"big": 1, "small": 0.25}, "source": "x"},
        {"prompt": "b", "scores": {"small": 1}, "source": "y"},
    )
    chosen = labelled.of_arms(["small", "big"]).complete()
    assert (chosen.arms, texts(chosen), chosen.sources) == (("small", "big"), ["a"], ("x",))
    assert chosen.scores is not None
    assert chosen.scores.tolist() == [[0.25, 1]]
    assert len(labelled.of_arms(["small"]).complete()) == 2
    tiers = many(3)
    assert tiers.of_arms(["any"]).complete() is tiers


def test_a_source_is_named_by_the_line_or_its_metadata(tmp_path: Path) -> None:
    """By the key that the caller names; a number is as good as a text."""
    lines = (
        {"prompt": "a", "tier": "pro", "source": "exam", "level": 3},
        {"prompt": "b", "tier": "pro", "metadata": {"source": "chat"}},
        {"prompt": "c", "tier": "pro", "source": None},
    )
    assert read(tmp_path, *lines).sources == ("exam", "chat", "")
    assert read(tmp_path, *lines, source_key="level").sources == ("3", "", "")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{oops", "not JSON"),
        ("[1]", "not an object"),
        ({"tier": "pro"}, 'no prompt; write {"prompt": "..."}'),
        ({"prompt": "x"}, 'no label; add "tier": "pro"'),
        ({"prompt": "x", "tier": "Pro"}, "the tier is none of pro, flash, lite; name one"),
        ({"prompt": "x", "tier": ["pro"]}, "the tier is none of pro, flash, lite; name one"),
        ({"prompt": "x", "tier": "pro", "metadata": "m"}, "metadata: "),
    ],
)
def test_a_bad_line_is_told_and_the_others_are_used(
    tmp_path: Path, line: dict[str, Any] | str, expected: str
) -> None:
    """With file and line, what is wrong and what to do."""
    good = {"prompt": "Hi.", "tier": "lite"}
    labelled = read(tmp_path, good, line, good)
    assert len(labelled) == 2
    (problem,) = labelled.problems
    assert problem.startswith(f"{tmp_path / 'labelled.jsonl'}:2: {expected}")
    assert problem.endswith(".")


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.5], "scores is not an object"),
        ({}, "scores has no score"),
        ({"big": None}, "scores has no score"),
        ({"big": 3}, "the score of 'big' is no number from 0 to 1"),
        ({"big": "good"}, "the score of 'big' is no number from 0 to 1"),
    ],
)
def test_bad_scores_are_told(tmp_path: Path, scores: object, expected: str) -> None:
    """The line is left out."""
    good = {"prompt": "Hi.", "scores": {"big": 1}}
    labelled = read(tmp_path, good, {"prompt": "x", "scores": scores})
    assert len(labelled) == 1
    assert f":2: {expected}" in labelled.problems[0]


def test_two_kinds_of_label_are_refused(tmp_path: Path) -> None:
    """In one file, and all the more in one line."""
    tier, scores = {"prompt": "a", "tier": "pro"}, {"prompt": "b", "scores": {"big": 1}}
    with pytest.raises(InputError, match=r"line 1 has a tier, line 2 has scores\. Keep one kind"):
        read(tmp_path, tier, scores)
    with pytest.raises(InputError, match="line 1 has a tier, line 1 has scores"):
        read(tmp_path, tier | scores)


def test_a_file_without_a_usable_line_is_an_error(tmp_path: Path) -> None:
    """That names the first problem, or says that the file is empty."""
    with pytest.raises(InputError, match=r"no labelled prompt .*:1: no label"):
        read(tmp_path, {"prompt": "x"})
    with pytest.raises(InputError, match="It is empty"):
        read(tmp_path, "")
    with pytest.raises(InputError, match="does not exist"):
        read_labelled(tmp_path / "none.jsonl")


def test_gzip_bom_and_windows_lines(tmp_path: Path) -> None:
    """The content tells, whatever the file is called."""
    lines = '\ufeff{"prompt": "a", "tier": "pro"}\r\n\r\n{"prompt": "b", "tier": "lite"}\r\n'
    path = tmp_path / "labelled"
    path.write_bytes(gzip.compress(lines.encode()))
    labelled = read_labelled(str(path))
    assert texts(labelled) == ["a", "b"]
    assert labelled.problems == ()
    path.write_bytes(gzip.compress(lines.encode())[:-9])
    with pytest.raises(InputError, match="not a whole gzip file"):
        read_labelled(path)


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Named as such in problems."""
    data = b'{"prompt": "a", "tier": "pro"}\nx\n'
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    labelled = read_labelled("-")
    assert len(labelled) == 1
    assert labelled.problems[0].startswith("stdin:2: ")


def test_a_part_is_held_out_whatever_the_order() -> None:
    """By the content alone; another seed divides otherwise."""
    labelled = many(200)
    train, test = split(labelled, holdout=0.25)
    assert (len(train), len(test)) == (150, 50)
    assert sorted(texts(train) + texts(test)) == sorted(texts(labelled))
    assert train.tiers is not None
    assert train.tiers[0] is Tier(list(Tier)[int(texts(train)[0].split()[1][:-1]) % 3])
    turned = labelled.part(list(reversed(range(200))))
    assert set(texts(split(turned, holdout=0.25)[1])) == set(texts(test))
    assert set(texts(split(labelled, holdout=0.25, seed=1)[1])) != set(texts(test))


def test_equal_prompts_stay_on_one_side() -> None:
    """Else the fit would know what it is measured by."""
    labelled = many(40)
    twice = labelled.part([*range(40), *range(40)])
    train, test = split(twice, holdout=0.5)
    assert not set(texts(train)) & set(texts(test))
    assert len(test) == 40


def test_sources_are_held_out_whole() -> None:
    """About the part that is asked for; a prompt without a source is one by itself."""
    train, test = split(many(120, sources=12), holdout=0.25, by_source=True)
    assert not set(train.sources) & set(test.sources)
    assert len(test) == 30
    train, test = split(many(120), holdout=0.25, by_source=True)
    assert len(test) == 30


@pytest.mark.parametrize("holdout", [0.01, 0.5, 0.99])
def test_neither_side_is_ever_empty(holdout: float) -> None:
    """One source may be nearly all of the prompts."""
    labelled = many(100, sources=1)
    sources = ("small",) * 2 + labelled.sources[2:]
    lopsided = Labelled(labelled.jobs, labelled.tiers, None, (), sources)
    train, test = split(lopsided, holdout=holdout, by_source=True)
    assert {len(train), len(test)} == {2, 98}


def test_what_cannot_be_divided() -> None:
    """One source, one prompt, no part."""
    with pytest.raises(InputError, match="no two different sources"):
        split(many(5, sources=1), holdout=0.2, by_source=True)
    with pytest.raises(InputError, match="no two different prompts"):
        split(many(1), holdout=0.2)
    with pytest.raises(ValueError, match="holdout is 1"):
        split(many(5), holdout=1)
