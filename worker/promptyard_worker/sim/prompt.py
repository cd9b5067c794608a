"""What a request asks: its text, its tokens, its key in the counters."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from promptyard_worker import tokens
from promptyard_worker.sim import directive
from promptyard_worker.sim.refusal import JsonObject, invalid, unknown_field

_FIELDS: Final = frozenset(
    {
        "model",
        "contents",
        "systemInstruction",
        "system_instruction",
        "generationConfig",
        "generation_config",
        "safetySettings",
        "safety_settings",
        "tools",
        "toolConfig",
        "tool_config",
        "cachedContent",
        "cached_content",
        "labels",
        "serviceTier",
        "service_tier",
        "store",
    }
)
_DATA_FIELDS: Final = frozenset(
    {
        "inlineData",
        "inline_data",
        "fileData",
        "file_data",
        "functionCall",
        "function_call",
        "functionResponse",
        "function_response",
        "executableCode",
        "executable_code",
        "codeExecutionResult",
        "code_execution_result",
    }
)
_ROLES: Final = frozenset({"user", "model", "function", "tool"})

#: A cached content's size is not known here; each counts as much.
CACHED_TOKENS: Final = 4_096

_NO_DIRECTIVE: Final = directive.Directive()


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt.

    Attributes:
        text: the text of all parts of ``contents``, joined without a separator; a part that
            holds no text joins as its JSON with sorted keys.
        digest: SHA-256 of ``text`` in UTF-8.
        tokens: estimated input tokens, system instruction, tools and cached content included.
        cached_tokens: the part of ``tokens`` that is cached content.
        order: the directives in the text.
    """

    text: str
    digest: bytes
    tokens: int
    cached_tokens: int
    order: directive.Directive

    @property
    def key(self) -> bytes:
        """The first 8 bytes of the digest: the prompt's name in the counters."""
        return self.digest[:8]

    @property
    def topic(self) -> str:
        """The text without its directives."""
        return self.text if self.order is _NO_DIRECTIVE else directive.strip(self.text)


def prompt_key(text: str) -> str:
    """The key of a plain text prompt in ``/stats?prompts=1``: ``sha256(text)[:16]`` in hex."""
    return _digest(text)[:8].hex()


def read_prompt(body: JsonObject, message: str = "GenerateContentRequest") -> Prompt:
    """The prompt of a generateContent request.

    Raises:
        Refusal: 400 if ``contents`` is missing or malformed, or for an unknown field.
    """
    if not _FIELDS.issuperset(body):
        raise unknown_field(next(name for name in body if name not in _FIELDS))
    text, media_tokens = read_contents(body.get("contents"), f"{message}.contents", "contents")
    total = tokens.count(text) + media_tokens
    system = body.get("systemInstruction") or body.get("system_instruction")
    if system is not None:
        words, media_tokens = read_contents(system, f"{message}.system_instruction", "system")
        total += tokens.count(words) + media_tokens
    if tools := body.get("tools"):
        total += tokens.count(json.dumps(tools))
    cached = CACHED_TOKENS if body.get("cachedContent") or body.get("cached_content") else 0
    order = directive.parse(text) if directive.MARK in text else _NO_DIRECTIVE
    return Prompt(text, _digest(text), total + cached, cached, order)


def read_contents(contents: Any, path: str, name: str) -> tuple[str, int]:
    """The joined text of one or several contents, and the tokens of all other parts.

    Args:
        contents: a Content, or a list of them; JSON, so of any shape.
        path: where it stands, for the error message.
        name: what the error message calls it.
    """
    # proto3 JSON as Google reads it takes a single object for a list of one.
    turns = [contents] if isinstance(contents, dict) else contents
    if not isinstance(turns, list) or not turns:
        raise invalid(f"* {path}: {name} is not specified\n")
    words: list[str] = []
    other_tokens = 0
    for index, turn in enumerate(turns):
        if not isinstance(turn, dict):
            raise invalid(f"Invalid value at '{name}[{index}]' (Content).")
        parts = turn.get("parts")
        if isinstance(parts, dict):
            parts = [parts]
        if not isinstance(parts, list) or not parts:
            raise invalid(f"* {path}[{index}].parts: contents.parts must not be empty.\n")
        if turn.get("role", "user") not in _ROLES:
            raise invalid("Please use a valid role: user, model.")
        for place, part in enumerate(parts):
            text, part_tokens = _read_part(part, f"{path}[{index}].parts[{place}]")
            words.append(text)
            other_tokens += part_tokens
    return words[0] if len(words) == 1 else "".join(words), other_tokens


def _read_part(part: Any, path: str) -> tuple[str, int]:
    """A text part as its text; any other as its JSON, with its tokens.

    The tokens of that JSON are taken off again, since the caller counts all text.
    """
    if isinstance(part, dict):
        text = part.get("text")
        if isinstance(text, str):
            return text, 0
        if not _DATA_FIELDS.isdisjoint(part):
            as_json = json.dumps(part, sort_keys=True, ensure_ascii=False)
            return as_json, tokens.count_part(part) - tokens.count(as_json)
    raise invalid(f"* {path}.data: required oneof field 'data' must have one initialized field\n")


def _digest(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
