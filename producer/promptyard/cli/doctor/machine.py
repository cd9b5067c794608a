"""This machine: what is installed, the key, the router file."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Final, cast

from promptyard import __version__
from promptyard.cli.doctor.finding import Finding
from promptyard.embedded import find_program
from promptyard.errors import PromptyardError
from promptyard.settings import Settings

#: Entry points of functions that check a file or service a package needs: called with the
#: settings, they give a sentence, or raise a PromptyardError that holds the remedy.
GROUP: Final = "promptyard.checks"
_KEYS: Final = ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CLOUD_PROJECT")


def versions() -> Iterator[Finding]:
    """What is installed."""
    yield Finding(
        subject="python",
        verdict="ok",
        detail=f"{platform.python_version()} on {platform.system()} {platform.machine()}",
    )
    yield Finding(subject="promptyard", verdict="ok", detail=__version__)
    for subject, package in (("celery", "celery"), ("kombu", "kombu"), ("redis-py", "redis")):
        yield Finding(subject=subject, verdict="ok", detail=version(package))
    try:
        yield Finding(subject="google-genai", verdict="ok", detail=version("google-genai"))
    except PackageNotFoundError:
        yield Finding(
            subject="worker extra",
            verdict="ok",
            detail="not installed: this is a producer",
            remedy="pip install 'promptyard[worker]' to run workers here",
        )


def embedded(settings: Settings) -> Iterator[Finding]:
    """Whether a local Valkey could be started."""
    try:
        detail = f"REDIS_URL is not set; a local Valkey will be started ({find_program()})"
        yield Finding(subject="redis", verdict="ok", detail=detail)
    except PromptyardError as error:
        yield Finding(subject="redis", verdict="fail", detail="none", remedy=str(error))
    yield Finding(subject="home", verdict="ok", detail=f"{settings.home.resolve()}, not in use")


def key() -> Finding:
    """Whether there is one; ``installed_checks`` asks whether Google takes it."""
    present = [name for name in _KEYS if os.environ.get(name)]
    base = os.environ.get("GOOGLE_GEMINI_BASE_URL")
    where = f", calls go to {base}" if base else ""
    if present:
        return Finding(subject="key", verdict="ok", detail=f"{' and '.join(present)} set{where}")
    return Finding(
        subject="key",
        verdict="warn",
        detail=f"none{where}: the stand-in answers, with simulated text",
        remedy="set GEMINI_API_KEY, or GOOGLE_CLOUD_PROJECT, for real answers",
    )


def installed_checks(settings: Settings) -> Iterator[Finding]:
    """What installed packages have to say."""
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            check = cast("Callable[[Settings], str]", entry.load())
            yield Finding(subject=entry.name, verdict="ok", detail=check(settings))
        except ModuleNotFoundError as error:
            detail = f"not looked at: {error.name} is not installed"
            yield Finding(subject=entry.name, verdict="ok", detail=detail)
        except Exception as error:  # whatever it is, it is a finding
            remedy = str(error) if isinstance(error, PromptyardError) else repr(error)
            yield Finding(
                subject=entry.name, verdict="fail", detail="cannot be used", remedy=remedy
            )
