"""The request that shows a model its own answer and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence

from promptyard.job import Content, Job, Part

#: Most characters of the answer that are sent again, some 8,000 tokens: what is longer was
#: mostly cut at the output limit, and its beginning shows the shape as well.
MOST_ANSWER = 32_000
#: Most characters of the problems together.
MOST_TOLD = 4_000


def repair_job(job: Job, answer: str, problems: Sequence[str]) -> Job:
    """The same job, continued: its turns, the answer as the model's, and what to mend.

    Args:
        job: what was asked; stays as it is.
        answer: the text that came.
        problems: what is wrong with it, place and rule.
    """
    turns = job.contents
    if isinstance(turns, str):
        turns = (_turn("user", turns),)
    if answer.strip():  # Gemini refuses a turn without text
        turns = (*turns, _turn("model", answer[:MOST_ANSWER]))
    return job.model_copy(update={"contents": (*turns, _turn("user", _wish(answer, problems)))})


def _turn(role: str, text: str) -> Content:
    return Content(role=role, parts=(Part(text=text),))


def _wish(answer: str, problems: Sequence[str]) -> str:
    told = "\n".join(f"- {problem}" for problem in problems)
    parts = [f"Your answer does not meet the JSON schema that was asked:\n{told[:MOST_TOLD]}"]
    if len(answer) > MOST_ANSWER:
        parts.append(f"Only its first {MOST_ANSWER} of {len(answer)} characters are shown above.")
    parts.append(
        "Answer the request again, in full, with these problems mended and all else as it was. "
        "Write the JSON only: no explanation, no code fence."
    )
    return "\n\n".join(parts)
