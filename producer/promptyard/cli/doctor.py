"""``promptyard doctor``: what could keep a run from working, each with its remedy."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Any, Final, Literal, cast

import redis
from pydantic import BaseModel, ConfigDict
from rich.table import Table

from promptyard import __version__
from promptyard.cli.options import find_url
from promptyard.cli.troubles import troubles
from promptyard.embedded import find_program
from promptyard.errors import PromptyardError, StoreError
from promptyard.names import QUEUES
from promptyard.producer import Producer
from promptyard.settings import Settings
from promptyard.store.faces import address, store_error
from promptyard.store.health import ModelHealth

#: Entry points of functions that check a file or service a package needs: called with the
#: settings, they give a sentence, or raise a PromptyardError that holds the remedy.
GROUP: Final = "promptyard.checks"
_OLDEST: Final = {"redis": 7, "valkey": 8}
_TIMEOUT_S: Final = 5
_KEYS: Final = ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_CLOUD_PROJECT")
_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "red"}

Verdict = Literal["ok", "warn", "fail"]


class Finding(BaseModel):
    """One thing looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    verdict: Verdict
    detail: str
    #: What to do; empty if nothing.
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at everything; finds what is wrong, raises nothing."""
    url = find_url(settings)
    findings = [*_versions()]
    findings += _embedded(settings) if url is None else _server(url, settings)
    findings.append(_key())
    findings += _installed_checks(settings)
    return findings


def findings_table(findings: list[Finding]) -> Table:
    """The findings for people."""
    table = Table("what", "", "found", "remedy")
    for finding in findings:
        style = _STYLES[finding.verdict]
        table.add_row(
            finding.subject,
            f"[{style}]{finding.verdict}[/]",
            finding.detail,
            finding.remedy,
        )
    return table


def _versions() -> Iterator[Finding]:
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


def _embedded(settings: Settings) -> Iterator[Finding]:
    try:
        detail = f"REDIS_URL is not set; a local Valkey will be started ({find_program()})"
        yield Finding(subject="redis", verdict="ok", detail=detail)
    except PromptyardError as error:
        yield Finding(subject="redis", verdict="fail", detail="none", remedy=str(error))
    yield Finding(subject="home", verdict="ok", detail=f"{settings.home.resolve()}, not in use")


def _server(url: str, settings: Settings) -> Iterator[Finding]:
    where = address(url)
    try:
        client = redis.Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, protocol=2
        )
        info = client.info()
    except (redis.RedisError, ValueError) as error:
        problem = error if isinstance(error, redis.RedisError) else redis.RedisError(str(error))
        yield Finding(
            subject="redis", verdict="fail", detail=where, remedy=str(store_error(problem, where))
        )
        return
    with client:
        yield _server_version(info, where)
        yield _eviction(info)
        yield _persistence(info)
        yield _memory(info)
    yield from _fleet(url, settings)


def _server_version(info: dict[str, Any], where: str) -> Finding:
    name = "valkey" if "valkey_version" in info else "redis"
    number = str(info.get(f"{name}_version", "0"))
    oldest = _OLDEST[name]
    old = int(number.partition(".")[0]) < oldest
    return Finding(
        subject="redis",
        verdict="fail" if old else "ok",
        detail=f"{name} {number} at {where}",
        remedy=f"upgrade to {name} {oldest} or later" if old else "",
    )


def _eviction(info: dict[str, Any]) -> Finding:
    policy = str(info.get("maxmemory_policy", "unknown"))
    safe = policy == "noeviction"
    return Finding(
        subject="eviction",
        verdict="ok" if safe else "fail",
        detail=f"maxmemory-policy {policy}",
        remedy="" if safe else "CONFIG SET maxmemory-policy noeviction, or jobs may vanish",
    )


def _persistence(info: dict[str, Any]) -> Finding:
    if not info.get("aof_enabled"):
        return Finding(
            subject="persistence",
            verdict="warn",
            detail="append-only file off",
            remedy="CONFIG SET appendonly yes, or a restart of Redis loses jobs",
        )
    sound = info.get("aof_last_write_status") == "ok"
    return Finding(
        subject="persistence",
        verdict="ok" if sound else "fail",
        detail=f"append-only file on, last write {info.get('aof_last_write_status')}",
        remedy="" if sound else "look at Redis' log: its disk may be full",
    )


def _memory(info: dict[str, Any]) -> Finding:
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    tight = bool(limit) and used > 0.8 * limit
    return Finding(
        subject="memory",
        verdict="warn" if tight else "ok",
        detail=f"{used / 1e6:,.1f} MB used" + (f" of {limit / 1e6:,.1f} MB" if limit else ""),
        remedy="raise maxmemory: a full Redis refuses new jobs" if tight else "",
    )


def _fleet(url: str, settings: Settings) -> Iterator[Finding]:
    try:
        with Producer(url, settings=settings) as producer:
            cards, models = producer.workers(), producer.models()
    except StoreError as error:
        yield Finding(subject="workers", verdict="fail", detail="unknown", remedy=str(error))
        return
    for queue in QUEUES:
        serving = [card for card in cards if queue in card.queues]
        slots = sum(card.concurrency for card in serving)
        yield Finding(
            subject=f"queue {queue}",
            verdict="ok" if serving else "warn",
            detail=f"{len(serving)} workers, {slots} at once" if serving else "nobody consumes it",
            remedy="" if serving else f"promptyard worker {queue}, or promptyard up",
        )
    yield from _models(models)


def _models(models: Sequence[ModelHealth]) -> Iterator[Finding]:
    found = troubles(models)
    for trouble in found:
        yield Finding(
            subject=trouble.model,
            verdict="fail" if trouble.is_failure else "warn",
            detail=trouble.what,
            remedy=trouble.remedy,
        )
    if models and not found:
        yield Finding(subject="models", verdict="ok", detail=f"{len(models)}, all well")


def _key() -> Finding:
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


def _installed_checks(settings: Settings) -> Iterator[Finding]:
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
