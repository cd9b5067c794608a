"""The repair request."""

from __future__ import annotations

from typing import Any

import pytest

from promptyard.job import Blob, Content, Decision, FileData, Job, Part
from promptyard_worker.gemini.repair import MOST_ANSWER, MOST_TOLD, repair_job
from promptyard_worker.gemini.request import build_request

PROBLEMS = ("$.items[2].price: -3 breaks minimum: 0", '$: lacks what is required: "name"')
ANSWER = '{"items": [{"price": -3}]}'
TURNS = (
    Content(
        role="user",
        parts=(
            Part(text="What does this say?"),
            Part(inline_data=Blob(mime_type="image/png", data="aGk=")),
            Part(file_data=FileData(file_uri="gs://bucket/file.pdf")),
        ),
    ),
    Content(role="model", parts=(Part(text="A price."),)),
    Content(role="user", parts=(Part(text="As JSON, please."),)),
)


def _job(**fields: Any) -> Job:
    return Job(
        **{
            "id": "job-1",
            "contents": "List the items.",
            "system_instruction": "Be exact.",
            "config": {"temperature": 0},
            "response_schema": {"type": "object"},
            "metadata": {"a": 1},
            **fields,
        }
    )


def _turns(job: Job) -> list[Content]:
    return [turn for turn in job.contents if isinstance(turn, Content)]


@pytest.mark.parametrize("contents", ["List the items.", TURNS])
def test_the_conversation_goes_on(contents: Any) -> None:
    """The turns as they were, media and all, then the answer, then what to mend."""
    job = _job(contents=contents)
    before = job.model_dump_json()
    *turns, answer, wish = _turns(repair_job(job, ANSWER, PROBLEMS))
    if isinstance(contents, str):
        assert turns == [Content(role="user", parts=(Part(text=contents),))]
    else:
        assert turns == list(contents)
    assert (answer.role, answer.parts[0].text) == ("model", ANSWER)
    assert wish.role == "user"
    assert all(f"- {problem}\n" in (wish.parts[0].text or "") for problem in PROBLEMS)
    assert job.model_dump_json() == before


def test_all_else_is_the_jobs() -> None:
    """Id, config, system instruction, schema: the same call with more turns."""
    job = _job()
    repaired = repair_job(job, ANSWER, PROBLEMS)
    assert repaired.model_copy(update={"contents": job.contents}) == job
    # nor is it a job that could not come out of a store
    assert Job.model_validate_json(repaired.model_dump_json()) == repaired


def test_it_can_be_sent() -> None:
    """The SDK's types take it, media included."""
    decision = Decision(tier="flash", model="m", stage="rules", policy_version="p1")
    repaired = repair_job(_job(contents=TURNS), ANSWER, PROBLEMS)
    request = build_request(repaired, decision, model="m", timeout_s=10)
    assert request.expects_json
    assert isinstance(request.contents, list)
    assert [turn.role for turn in request.contents] == ["user", "model", "user", "model", "user"]
    parts = request.contents[0].parts
    assert parts is not None
    assert parts[1].inline_data is not None
    assert parts[1].inline_data.data == b"hi"


def test_a_huge_answer_is_cut() -> None:
    """And the model is told so; the problems are bounded as well."""
    repaired = repair_job(_job(), "x" * 10 * MOST_ANSWER, ["y" * 10 * MOST_TOLD] * 3)
    _, answer, wish = _turns(repaired)
    assert answer.parts[0].text == "x" * MOST_ANSWER
    text = wish.parts[0].text or ""
    assert f"first {MOST_ANSWER} of {10 * MOST_ANSWER} characters" in text
    assert len(text) < MOST_TOLD + 500


def test_an_answer_without_text_is_no_turn() -> None:
    """Gemini refuses an empty part."""
    repaired = repair_job(_job(), " \n", ["the answer is not JSON"])
    assert [turn.role for turn in _turns(repaired)] == ["user", "user"]
