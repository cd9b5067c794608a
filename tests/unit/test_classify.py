"""Routing a chunk: a bad job hurts itself alone, and an encoder that is away hurts nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from promptyard.errors import EmbeddingError, EmbeddingRefused
from promptyard.job import Decision, ErrorType, Job
from promptyard.names import Tier
from promptyard_worker.classify import _route
from promptyard_worker.routing.router import PromptRouter

DECISION = Decision(stage="default", tier=Tier.FLASH, model="m", policy_version="v")


class Router:
    """Fails on some texts, with everything that comes with them."""

    def __init__(self, **failures: Exception) -> None:
        self.failures = failures
        self.calls = 0

    def route(self, chunk: Sequence[Job]) -> list[Any]:
        """As ``PromptRouter`` does."""
        self.calls += 1
        for job in chunk:
            if job.text in self.failures:
                raise self.failures[job.text]
        return [DECISION] * len(chunk)


def route(router: Router, *texts: str) -> tuple[list[str], dict[str, Any]]:
    """Texts of the decided, errors of the others by text."""
    chunk = [Job(contents=text) for text in texts]
    decided, bad = _route(cast("PromptRouter", router), chunk)
    by_id = {job.id: job.text for job in chunk}
    return [job.text for job, _ in decided], {by_id[job_id]: bad[job_id] for job_id in bad}


def test_a_refused_text_is_told_on_its_own_job() -> None:
    """Found by halving: the service is asked some dozen times for a chunk of 64, not 65."""
    router = Router(bad=EmbeddingRefused("400 INVALID_ARGUMENT"))
    good = [f"good {n}" for n in range(63)]
    decided, bad = route(router, *good[:20], "bad", *good[20:])
    assert decided == good
    assert bad["bad"].type is ErrorType.INVALID_REQUEST
    assert "400 INVALID_ARGUMENT" in bad["bad"].message
    assert router.calls == 13


def test_a_fault_of_ours_is_told_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the traceback; the record says where to look."""
    decided, bad = route(Router(bad=ZeroDivisionError("oh")), "good", "bad")
    assert decided == ["good"]
    assert bad["bad"].type is ErrorType.INTERNAL
    assert "oh" not in bad["bad"].message
    assert "ZeroDivisionError: oh" in caplog.text


def test_an_encoder_that_is_away_fails_no_job() -> None:
    """Neither at once nor after a split."""
    router = Router(bad=EmbeddingRefused("400"), later=EmbeddingError("503"))
    with pytest.raises(EmbeddingError):
        route(router, "good", "bad", "later", "good too")
