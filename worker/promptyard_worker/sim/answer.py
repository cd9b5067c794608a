"""The answer to a prompt: its text, and the GenerateContentResponse around it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from promptyard_worker import tokens
from promptyard_worker.sim import schema
from promptyard_worker.sim.dice import Dice
from promptyard_worker.sim.fault import Fault
from promptyard_worker.sim.generation import Generation
from promptyard_worker.sim.profile import ModelProfile
from promptyard_worker.sim.prompt import Prompt
from promptyard_worker.sim.refusal import JsonObject
from promptyard_worker.sim.text import PREFIX, extract

#: What a prompt with ``[[sim: badjson]]`` gets: cut off, so that it meets no schema.
BAD_JSON: Final = '{"simulated": true, "note": "this is not the JSON that was asked for"'

#: Pieces of a streamed answer.
_STREAM_PIECES: Final = 4

_BLOCKED: Final = {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says.

    Attributes:
        text: None where it says nothing.
        finish: ``finishReason``; None where there is no candidate.
        blocked: the prompt itself was blocked.
        thoughts: tokens it thought; part of ``maxOutputTokens``.
        tokens: tokens of ``text``.
        summary: the summary of its thoughts, if asked for.
    """

    text: str | None
    finish: str | None = "STOP"
    blocked: bool = False
    thoughts: int = 0
    tokens: int = 0
    summary: str | None = None


def compose(
    profile: ModelProfile, prompt: Prompt, wanted: Generation, thoughts: int, fault: Fault | None
) -> Answer:
    """The model's answer, or the odd one that ``fault`` asks for."""
    most = min(wanted.max_tokens or profile.output_token_limit, profile.output_token_limit)
    match fault:
        case Fault.BLOCK:
            return Answer(None, None, blocked=True)
        case Fault.EMPTY:
            return Answer(None, None, thoughts=min(thoughts, most))
        case Fault.SAFETY:
            return Answer(None, "SAFETY", thoughts=min(thoughts, most))
        case Fault.MAX_TOKENS:
            spent = min(thoughts, most) if wanted.max_tokens is None else most
            return Answer(None, "MAX_TOKENS", thoughts=spent)
    if thoughts >= most:
        # As with the real models: thoughts alone can use up maxOutputTokens.
        return Answer(None, "MAX_TOKENS", thoughts=most)
    text = BAD_JSON if fault is Fault.BAD_JSON else _write(prompt, wanted)
    for stop in wanted.stops:
        text = text.partition(stop)[0]
    summary = f"{PREFIX}Thought about the prompt." if wanted.shows_thoughts and thoughts else None
    count = tokens.count(text)
    if count <= most - thoughts:
        return Answer(text, thoughts=thoughts, tokens=count, summary=summary)
    text = tokens.fit(text, most - thoughts)
    return Answer(
        text or None, "MAX_TOKENS", thoughts=thoughts, tokens=tokens.count(text), summary=summary
    )


def usage_of(prompt: Prompt, answer: Answer) -> JsonObject:
    """``usageMetadata``; like the real one it leaves out what is zero."""
    usage: JsonObject = {
        "promptTokenCount": prompt.tokens,
        "totalTokenCount": prompt.tokens + answer.tokens + answer.thoughts,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt.tokens}],
    }
    if answer.tokens:
        usage["candidatesTokenCount"] = answer.tokens
    if answer.thoughts:
        usage["thoughtsTokenCount"] = answer.thoughts
    if prompt.cached_tokens:
        usage["cachedContentTokenCount"] = prompt.cached_tokens
    return usage


def response(profile: ModelProfile, usage: JsonObject, answer: Answer, name: str) -> JsonObject:
    """The GenerateContentResponse; ``name`` is its ``responseId``."""
    body: JsonObject = {}
    if answer.finish is not None:
        body["candidates"] = [_candidate(answer)]
    if answer.blocked:
        ratings = [{**_BLOCKED, "blocked": True}]
        body["promptFeedback"] = {"blockReason": "SAFETY", "safetyRatings": ratings}
    body["usageMetadata"] = usage
    body["modelVersion"] = f"{profile.name}-simulated"
    body["responseId"] = name
    return body


def pieces(whole: JsonObject) -> list[JsonObject]:
    """A response as the stream of responses that add up to it."""
    try:
        part = whole["candidates"][0]["content"]["parts"][-1]
    except (KeyError, IndexError):
        return [whole]
    text: str = part["text"]
    size = max(1, -(-len(text) // _STREAM_PIECES))
    texts = [text[start : start + size] for start in range(0, len(text), size)]
    if len(texts) < 2:
        return [whole]
    stream: list[JsonObject] = []
    for piece in texts:
        content = {"parts": [{"text": piece}], "role": "model"}
        stream.append({**whole, "candidates": [{"content": content, "index": 0}]})
    first_parts = [*whole["candidates"][0]["content"]["parts"][:-1], {"text": texts[0]}]
    stream[0]["candidates"][0]["content"]["parts"] = first_parts
    stream[-1]["candidates"][0]["finishReason"] = whole["candidates"][0]["finishReason"]
    return stream


def _candidate(answer: Answer) -> JsonObject:
    content: JsonObject = {"role": "model"}
    if answer.text is not None:
        parts: list[JsonObject] = [{"text": answer.text}]
        if answer.summary is not None:
            parts.insert(0, {"text": answer.summary, "thought": True})
        content["parts"] = parts
    candidate: JsonObject = {"content": content, "finishReason": answer.finish, "index": 0}
    if answer.finish == "SAFETY":
        del candidate["content"]
        candidate["safetyRatings"] = [{**_BLOCKED, "blocked": True}]
    return candidate


def _write(prompt: Prompt, wanted: Generation) -> str:
    if prompt.order.answer is not None:
        return _scripted(prompt.order.answer, wanted)
    topic = prompt.topic
    if wanted.schema is None:
        text = extract(topic)
        if wanted.mime_type == "application/json":
            return _as_json({"simulated": True, "answer": text})
        return text
    dice = Dice(int.from_bytes(prompt.digest[8:16], "big"))
    value = schema.write(wanted.schema, topic, dice)
    if wanted.mime_type == "text/x.enum" and isinstance(value, str):
        return value
    return _as_json(value)


def _scripted(answer: str, wanted: Generation) -> str:
    """The answer that the prompt dictates."""
    value = json.loads(answer)
    asks_json = wanted.schema is not None or wanted.mime_type == "application/json"
    return value if isinstance(value, str) and not asks_json else answer


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
