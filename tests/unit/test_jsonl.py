"""JSONL in: every line becomes a job or a BadLine, and says where it stood."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptyard.errors import InputError
from promptyard.formats import jsonl
from promptyard.formats.jsonl import BadLine, read_jobs
from promptyard.formats.source import content_identity, open_source
from promptyard.job import ErrorType, Job, JobState


def read(text: str | bytes, batch_id: str = "b") -> list[Job | BadLine]:
    """Read a text as a file of jobs."""
    data = text.encode() if isinstance(text, str) else text
    return list(read_jobs(io.BytesIO(data), batch_id=batch_id))


def read_job(line: str) -> Job:
    """Read one good line."""
    (job,) = read(line)
    assert isinstance(job, Job), job
    return job


def read_bad(line: str | bytes) -> BadLine:
    """Read one bad line."""
    (bad,) = read(line)
    assert isinstance(bad, BadLine), bad
    return bad


def test_a_prompt_is_enough() -> None:
    """A line with only a prompt is a job named after its line."""
    job = read_job('{"prompt": "Hello"}')
    assert (job.contents, job.custom_id, job.line) == ("Hello", "1", 1)


def test_custom_id_metadata_and_fields_of_a_job_are_kept() -> None:
    """Whatever a Job takes, a line takes."""
    job = read_job(
        '{"prompt": "p", "custom_id": "t-1", "metadata": {"a": [1]}, "tier": "pro",'
        ' "priority": 0, "config": {"temperature": 0}, "expires_in": 60}'
    )
    assert (job.custom_id, job.metadata, job.tier, job.priority) == ("t-1", {"a": [1]}, "pro", 0)
    assert job.config == {"temperature": 0}
    assert job.expires_in is not None
    assert job.expires_in.total_seconds() == 60


def test_a_dumped_job_is_read_back() -> None:
    """A line of Job.model_dump_json() is a job; its id becomes the custom_id."""
    original = Job(contents="p", id="mine", metadata={"k": "v"})
    job = read_job(original.model_dump_json())
    assert (job.contents, job.metadata, job.custom_id) == ("p", {"k": "v"}, "mine")
    assert job.id != "mine"


def test_turns_in_gemini_shape_are_taken() -> None:
    """``contents`` may be a conversation with parts."""
    job = read_job('{"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}')
    assert job.text == "hi"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"custom_id": 17}, "17"),
        ({"id": "x"}, "x"),
        ({"id": "x", "custom_id": "y"}, "y"),
        ({"custom_id": ""}, "1"),
        ({"custom_id": None}, "1"),
    ],
)
def test_what_names_a_line(given: dict[str, object], expected: str) -> None:
    """custom_id, else id, else the line's number."""
    assert read_job(json.dumps({"prompt": "p", **given})).custom_id == expected


def test_ids_are_the_same_for_the_same_batch_and_name() -> None:
    """A second run of a file gives the same ids; another batch gives others."""
    text = '{"prompt": "a"}\n{"prompt": "b", "custom_id": "x"}\n'
    first, again, other = (
        [job.id for job in read(text, batch) if isinstance(job, Job)] for batch in ("1", "1", "2")
    )
    assert first == again
    assert not set(first) & set(other)


def test_a_repeated_custom_id_collides_and_a_line_number_does_not() -> None:
    """The same custom_id is the same job id; a custom_id "2" is not line 2."""
    ids = [
        job.id
        for job in read(
            '{"prompt": "a", "custom_id": "2"}\n{"prompt": "b"}\n{"prompt": "c", "custom_id": "2"}'
        )
        if isinstance(job, Job)
    ]
    assert ids[0] == ids[2] != ids[1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{nonsense", "not JSON"),
        ('"only text"', "not an object"),
        ("[1]", "not an object"),
        ("{}", "no prompt"),
        ('{"prompt": ""}', "no prompt"),
        ('{"prompt": "  "}', "blank"),
        ('{"prompt": 3}', "not a text"),
        ('{"prompt": "a", "contents": "b"}', "both"),
        ('{"prompt": "a", "promt": 1}', "unknown field 'promt'"),
        ('{"prompt": "a", "priority": 11}', "priority"),
        ('{"prompt": "a", "tier": "gold"}', "tier"),
        ('{"prompt": "a", "custom_id": [1]}', "custom_id"),
        ('{"prompt": NaN}', "not JSON"),
        ('{"prompt": "\\ud800"}', "not JSON"),
        ("[" * 100_000, "not JSON"),
        (b'{"prompt": "\xff"}', "not JSON"),
        (b"\xff\xfe{\x00", "UTF-16"),
    ],
)
def test_a_bad_line_says_what_is_wrong(line: str | bytes, message: str) -> None:
    """The reason is in the message, without the prompt."""
    assert message in read_bad(line).message


def test_a_bad_line_stops_nothing() -> None:
    """Lines before and after a bad one are read; invalid UTF-8 hurts its line alone."""
    items = read(b'{"prompt": "a"}\n\xff\n\n{"prompt": "b"}')
    assert [type(item) for item in items] == [Job, BadLine, Job]
    assert [item.line for item in items] == [1, 2, 4]


def test_a_bad_line_keeps_its_custom_id_and_hides_its_prompt() -> None:
    """custom_id comes back on the failed result; the prompt is nowhere in it."""
    bad = read_bad('{"prompt": "my secret", "custom_id": "c", "priority": "my secret"}')
    assert bad.custom_id == "c"
    assert "secret" not in bad.message


def test_bom_and_crlf_are_fine() -> None:
    """Files from Windows are files too."""
    items = read(b'\xef\xbb\xbf{"prompt": "a"}\r\n\r\n{"prompt": "b"}\r\n')
    assert [item.line for item in items if isinstance(item, Job)] == [1, 3]


def test_a_line_that_is_too_long_hurts_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is skipped to its end without being held in memory."""
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 100)
    items = read(json.dumps({"prompt": "x" * 1000}) + '\n{"prompt": "b"}\n')
    assert [(type(item), item.line) for item in items] == [(BadLine, 1), (Job, 2)]


def test_a_bad_line_as_a_result() -> None:
    """It has its place in the output: failed, invalid_input, with its line number."""
    result = BadLine(line=17, custom_id="17", message="no prompt").as_result("b")
    assert (result.status, result.line, result.custom_id) == (JobState.FAILED, 17, "17")
    assert result.error is not None
    assert result.error.type is ErrorType.INVALID_INPUT
    assert result.error.message == "line 17: no prompt"


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Reading 20,000 lines holds no more than reading a few."""
    path = tmp_path / "big.jsonl"
    path.write_text("".join(f'{{"prompt": "{"x" * 500} {n}"}}\n' for n in range(20_000)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_jobs(path, batch_id="b")) == 20_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_identity_is_the_content(tmp_path: Path) -> None:
    """Two files with the same bytes are the same run."""
    one, two, three = (tmp_path / name for name in "abc")
    one.write_text("x")
    two.write_text("x")
    three.write_text("y")
    assert content_identity(one) == content_identity(two) != content_identity(three)


@pytest.fixture
def pipe() -> Iterator[str]:
    """A path that can be read only once."""
    import os

    reader, writer = os.pipe()
    os.write(writer, b'{"prompt": "a"}\n')
    os.close(writer)
    yield f"/dev/fd/{reader}"
    os.close(reader)


def test_a_pipe_is_spooled(pipe: str) -> None:
    """A source that can be read once is read twice all the same."""
    with open_source(pipe) as path:
        assert content_identity(path)
        assert len(list(read_jobs(path, batch_id="b"))) == 1
    assert not path.exists()


@pytest.mark.parametrize("name", ["no-such-file.jsonl", "."])
def test_a_source_that_is_no_file_is_named(name: str) -> None:
    """The error names the path and what to give instead."""
    with pytest.raises(InputError, match="JSONL file"), open_source(name):
        pass
