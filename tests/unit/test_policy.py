"""The policy in force, and the watch that replaces it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from promptyard.errors import EmbeddingError, RouterFileError, StoreError
from promptyard_worker import policy
from promptyard_worker.policy import PolicyWatch
from promptyard_worker.routing import load_router
from promptyard_worker.routing.config import RouterConfig
from tests.conftest import wait_until
from tests.router_files import GOOD, put

BETTER = GOOD.replace("default: flash", "default: pro")
BAD = GOOD.replace("model: big", "model: bgi")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(policy, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(policy, "STILL_S", 0.01)
    caplog.set_level(logging.INFO, logger="promptyard_worker.policy")


class Publisher:
    """Takes what is published; Redis may be away."""

    def __init__(self) -> None:
        self.versions: list[str] = []
        self.is_away = False
        self.attempts = 0

    def __call__(self, config: RouterConfig) -> None:
        """Publish."""
        self.attempts += 1
        if self.is_away:
            raise StoreError("Redis is away.")
        self.versions.append(config.policy_version)


@contextmanager
def watching(
    path: Path,
    *,
    build: Callable[[RouterConfig], Any] | None = None,
    publish: Callable[[RouterConfig], None] | None = None,
) -> Iterator[PolicyWatch]:
    """A watch at work."""
    watch = PolicyWatch(path, build=build, publish=publish or Publisher())
    watch.start()
    try:
        yield watch
    finally:
        watch.close()


def written(folder: Path, text: str) -> Path:
    """The router file with this text."""
    return put(folder / "router.yaml", text)


def router_of(watch: PolicyWatch) -> Any:
    """What the test's ``build`` gave for the policy in force."""
    return watch.policy.router


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said of refused files."""
    return [record.message for record in caplog.records if record.levelno == logging.ERROR]


def test_a_changed_file_is_put_in_force_and_published(tmp_path: Path) -> None:
    """Nobody asks; what was taken before stays what it was."""
    path, publisher = written(tmp_path, GOOD), Publisher()
    with watching(path, publish=publisher) as watch:
        before = watch.policy
        written(tmp_path, BETTER)
        wait_until(lambda: watch.policy is not before, description="the new policy is in force")
        wait_until(lambda: len(publisher.versions) == 2, description="and is published")
        assert (before.config.default, watch.policy.config.default) == ("flash", "pro")
        assert publisher.versions == [before.version, load_router(path).policy_version]


def test_a_new_router_is_built_for_the_new_file(tmp_path: Path) -> None:
    """Beside the old one, which chunks may still be using."""
    with watching(written(tmp_path, GOOD), build=lambda config: config.default) as watch:
        assert router_of(watch) == "flash"
        written(tmp_path, BETTER)
        wait_until(lambda: router_of(watch) == "pro", description="the new router is there")


def test_who_routes_nothing_has_no_router(tmp_path: Path) -> None:
    """A fault of ours if it asks."""
    with watching(written(tmp_path, GOOD)) as watch, pytest.raises(RuntimeError, match="classify"):
        _ = watch.policy.router


def test_a_bad_file_is_refused_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aloud, with file and line, however often it is tried; the old policy stays."""
    monkeypatch.setattr(policy, "REFUSED_RETRY_S", 0)
    tries: list[Path] = []

    def counted(path: Path) -> RouterConfig:
        tries.append(path)
        return load_router(path)

    monkeypatch.setattr(policy, "load_router", counted)
    path = written(tmp_path, GOOD)
    with watching(path) as watch:
        before = watch.policy
        written(tmp_path, BAD)
        wait_until(lambda: len(tries) > 5, description="it is tried again and again")
        os.utime(path)
        seen = len(tries)
        wait_until(lambda: len(tries) > seen + 2, description="touching it says nothing new")
        assert watch.policy is before
    (said,) = refusals(caplog)
    assert f"policy {before.version} stays in force" in said
    assert f"{path}:6: routes[0].model: unknown model 'bgi'. Did you mean 'big'?" in said


def test_who_asks_is_told_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """SIGHUP is a question, and has an answer each time."""
    with watching(written(tmp_path, GOOD)) as watch:
        written(tmp_path, BAD)
        wait_until(lambda: len(refusals(caplog)) == 1, description="it is refused")
        watch.ask()
        wait_until(lambda: len(refusals(caplog)) == 2, description="it is refused again")
        written(tmp_path, GOOD)
        watch.ask()
        wait_until(lambda: "is unchanged" in caplog.text, description="nothing is new")


def test_a_mended_file_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And the same mistake made again is told again."""
    with watching(written(tmp_path, GOOD)) as watch:
        written(tmp_path, BAD)
        wait_until(lambda: len(refusals(caplog)) == 1, description="it is refused")
        written(tmp_path, BETTER)
        wait_until(lambda: watch.policy.config.default == "pro", description="it is mended")
        written(tmp_path, BAD)
        wait_until(lambda: len(refusals(caplog)) == 2, description="it is refused again")
        assert watch.policy.config.default == "pro"


def test_a_file_that_is_gone_leaves_the_policy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Editors take it away for a moment, and people by mistake."""
    path = written(tmp_path, GOOD)
    with watching(path) as watch:
        path.rename(tmp_path / "away")
        wait_until(lambda: refusals(caplog), description="it is missed")
        assert watch.policy.config.default == "flash"
        written(tmp_path, BETTER)
        wait_until(lambda: watch.policy.config.default == "pro", description="the new one is taken")


def test_looking_takes_a_change_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that misses a model does not wait for the next turn."""
    monkeypatch.setattr(policy, "LOOK_EVERY_S", 3600)
    with watching(written(tmp_path, GOOD)) as watch:
        before = watch.policy
        assert watch.look() is before
        written(tmp_path, BETTER)
        assert watch.look().config.default == "pro"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RouterFileError("encoder.type fastembed is not installed"), "fastembed"),
        (EmbeddingError("503 UNAVAILABLE"), "503"),
        (ZeroDivisionError("oh"), "router.yaml: ZeroDivisionError: oh"),
    ],
)
def test_a_router_that_cannot_be_built_is_tried_again(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    said: str,
) -> None:
    """What the file names may come later: a package, a fitted file, the encoder's service."""
    monkeypatch.setattr(policy, "REFUSED_RETRY_S", 0)
    tries: list[str] = []

    def build(config: RouterConfig) -> Any:
        tries.append(config.default)
        if 1 < len(tries) < 5:
            raise error
        return len(tries)

    with watching(written(tmp_path, GOOD), build=build) as watch:
        written(tmp_path, BETTER)
        wait_until(lambda: router_of(watch) == 5, description="the fourth attempt succeeds")
    (once,) = refusals(caplog)
    assert said in once


def test_a_fitted_file_is_part_of_the_policy(tmp_path: Path) -> None:
    """It is watched too, and its content is in the version."""
    fitted = put(tmp_path / "fitted.json", "1")
    text = GOOD + "learned: {file: fitted.json}\n"
    with watching(written(tmp_path, text)) as watch:
        before = watch.policy
        put(fitted, "2")
        wait_until(lambda: watch.policy is not before, description="the new one is in force")
        assert len({before.version, watch.policy.version}) == 2
        second = watch.policy.version
        put(fitted, "1")
        wait_until(lambda: watch.policy.version != second, description="the old one again")
        assert watch.policy.version == before.version


def test_what_could_not_be_published_is_published_later(tmp_path: Path) -> None:
    """Redis is away when the file changes."""
    publisher = Publisher()
    with watching(written(tmp_path, GOOD), publish=publisher) as watch:
        publisher.is_away = True
        written(tmp_path, BETTER)
        wait_until(lambda: publisher.attempts > 2, description="it is tried again")
        publisher.is_away = False
        wait_until(lambda: len(publisher.versions) == 2, description="it is published")
        assert publisher.versions[-1] == watch.policy.version


def test_a_start_without_redis_fails(tmp_path: Path) -> None:
    """As every start does."""
    publisher = Publisher()
    publisher.is_away = True
    watch = PolicyWatch(written(tmp_path, GOOD), build=None, publish=publisher)
    with pytest.raises(StoreError):
        watch.start()
    watch.close()
