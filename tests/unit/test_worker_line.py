"""The line that starts a worker: what Celery is told."""

from __future__ import annotations

import os

import pytest

from promptyard.errors import SettingsError
from promptyard_worker.worker import celery_arguments, default_concurrency, main


def test_the_pool_is_threads_and_the_name_is_unique() -> None:
    """Two workers of one queue on one host have names of their own."""
    arguments = celery_arguments(["pro", "lite"], concurrency=7)
    assert arguments[0] == "worker"
    assert {"--pool=threads", "--concurrency=7", "--queues=pro,lite"} <= set(arguments)
    assert f"--hostname=pro+lite@%h-{os.getpid()}" in arguments


def test_a_worker_of_several_queues_has_the_slots_of_all() -> None:
    """So that one process for everything is no bottleneck."""
    assert default_concurrency(["pro", "lite"]) == sum(
        map(default_concurrency, (["pro"], ["lite"]))
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gold"], "no queue 'gold'"),
        (["pro", "--concurrency", "0"], "at least 1"),
        (["pro", "--loglevel", "loud"], "--loglevel loud"),
    ],
)
def test_a_wrong_argument_is_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr, exit code 2, before anything heavy is loaded."""
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_wrong_arguments_are_settings_errors() -> None:
    """For those who call the function."""
    with pytest.raises(SettingsError, match="classify, pro, flash, lite"):
        celery_arguments(["gold"])
