"""Secrets from files."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptyard.errors import SettingsError
from promptyard.secret_files import read_secret_files, with_password


def test_a_file_stands_for_its_variable(tmp_path: Path) -> None:
    """Without the line end that editors leave; a variable that is set wins."""
    file = tmp_path / "key"
    file.write_text("AIzaSomething\n")
    environ = {"GEMINI_API_KEY_FILE": str(file), "GOOGLE_API_KEY_FILE": str(file)}
    environ["GOOGLE_API_KEY"] = "set"
    read_secret_files(environ)
    assert environ["GEMINI_API_KEY"] == "AIzaSomething"
    assert environ["GOOGLE_API_KEY"] == "set"


def test_a_password_is_put_into_the_url(tmp_path: Path) -> None:
    """Quoted, for it may hold anything."""
    file = tmp_path / "password"
    file.write_text("p@ss:w/rd")
    environ = {"REDIS_URL": "redis://redis:6379/0", "REDIS_PASSWORD_FILE": str(file)}
    read_secret_files(environ)
    assert environ["REDIS_URL"] == "redis://:p%40ss%3Aw%2Frd@redis:6379/0"


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://:own@h:1/0", "redis://:own@h:1/0"),
        ("rediss://user@h/2?x=1", "rediss://user:new@h/2?x=1"),
        ("not a url", "not a url"),
    ],
)
def test_a_password_of_its_own_stays(url: str, wanted: str) -> None:
    """And so does everything else."""
    assert with_password(url, "new") == wanted


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Not silently left out."""
    with pytest.raises(SettingsError, match="GEMINI_API_KEY_FILE"):
        read_secret_files({"GEMINI_API_KEY_FILE": str(tmp_path / "none")})
