"""The result file: there under its name only when it is complete."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from promptyard.errors import SettingsError
from promptyard.formats.results import ResultWriter
from promptyard.job import JobResult, JobState

RESULT = JobResult(id="j", custom_id="ä", status=JobState.SUCCEEDED, text="line\nbreak")


def test_a_line_a_result_and_back(tmp_path: Path) -> None:
    """What is written is read back equal, one line each."""
    with ResultWriter(tmp_path / "out.jsonl") as writer:
        writer.write(RESULT)
        writer.write(RESULT)
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [JobResult.model_validate_json(line) for line in lines] == [RESULT, RESULT]
    assert writer.count == 2


def test_it_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    """An earlier file stays until the new one is whole; a broken run leaves the part."""
    path = tmp_path / "out.jsonl"
    path.write_text("earlier")

    def broken() -> None:
        with ResultWriter(path) as writer:
            writer.write(RESULT)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert path.read_text() == "earlier"
    assert (tmp_path / "out.jsonl.part").exists()


def test_nothing_written_leaves_nothing(tmp_path: Path) -> None:
    """A run that fails before its first result leaves no empty file about."""
    with pytest.raises(RuntimeError), ResultWriter(tmp_path / "out.jsonl"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_it_can_be_begun_anew(tmp_path: Path) -> None:
    """What was written is gone; from a pipe or a device it cannot be taken back."""
    with ResultWriter(tmp_path / "out.jsonl") as writer:
        for _ in range(1000):
            writer.write(RESULT)
        assert writer.restart()
        writer.write(RESULT)
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == writer.count == 1
    with ResultWriter(Path("/dev/null")) as writer:
        writer.write(RESULT)
        assert not writer.restart()
        assert writer.count == 1


def test_a_link_is_followed_and_a_device_is_not_replaced(tmp_path: Path) -> None:
    """The target of a link is written; /dev/null stays a device."""
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with ResultWriter(tmp_path / "link") as writer:
        writer.write(RESULT)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").is_file()
    with ResultWriter(Path("/dev/null")) as writer:
        writer.write(RESULT)
    assert Path("/dev/null").is_char_device()


def test_a_path_that_cannot_be_written_is_known_at_once(tmp_path: Path) -> None:
    """Before any job is paid for."""
    with pytest.raises(SettingsError, match="cannot be written"):
        ResultWriter(tmp_path / "no" / "such" / "folder" / "out.jsonl")


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    """The submitting and the following thread write to one file."""

    def write_many() -> None:
        for _ in range(500):
            writer.write(RESULT)

    with ResultWriter(tmp_path / "out.jsonl") as writer:
        threads = [threading.Thread(target=write_many) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert len(lines) == writer.count == 2000
    assert set(lines) == {RESULT.model_dump_json()}
