"""Settings from the environment."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from promptyard.errors import SettingsError
from promptyard.settings import Settings


def test_an_empty_environment_has_defaults() -> None:
    """Nothing need be set; an empty variable is one that is not set."""
    assert Settings.from_env({}) == Settings() == Settings.from_env({"PROMPTYARD_LEASE_S": ""})
    assert Settings().redis_url is None
    assert Settings().home == Path(".promptyard")


def test_every_variable_is_read() -> None:
    """REDIS_URL as elsewhere, ours with their prefix."""
    found = Settings.from_env(
        {
            "REDIS_URL": "redis://u:secret@h:1/2",
            "PROMPTYARD_HOME": "/var/yard",
            "PROMPTYARD_ROUTER": "my.yaml",
            "PROMPTYARD_RETENTION_S": "3600",
            "PROMPTYARD_LEASE_S": "2.5",
            "HOME": "/root",
        }
    )
    assert found.redis_url is not None
    assert found.redis_url.get_secret_value() == "redis://u:secret@h:1/2"
    assert (found.home, found.router_file) == (Path("/var/yard"), Path("my.yaml"))
    assert (found.retention_s, found.lease_s) == (3600, 2.5)


def test_the_password_is_not_shown() -> None:
    """Neither printed nor in a repr."""
    found = Settings.from_env({"REDIS_URL": "redis://u:secret@h:1/2"})
    assert "secret" not in f"{found!r} {found}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROMPTYARD_LEASE_S", "soon"),
        ("PROMPTYARD_LEASE_S", "0.5"),
        ("PROMPTYARD_RETENTION_S", "59"),
        ("PROMPTYARD_RETENTION_S", "-1"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: str) -> None:
    """The variable, the value and the remedy."""
    with pytest.raises(SettingsError, match=rf"^{name}='{value}'.*unset it\.$"):
        Settings.from_env({name: value})


def test_unknown_settings_and_changes_are_refused() -> None:
    """Where they are written."""
    with pytest.raises(ValidationError):
        Settings.model_validate({"leases": 3})
    with pytest.raises(ValidationError, match="frozen"):
        Settings().lease_s = 3  # type: ignore[misc]


def test_the_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """from_env() reads os.environ."""
    monkeypatch.setenv("PROMPTYARD_LEASE_S", "7")
    assert Settings.from_env().lease_s == 7
