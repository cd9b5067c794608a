"""Gemini as a decision model of semantic-router: many prompts a call, answered by a schema.

It asks from threads, since stages are asked from threads; ``aask_many`` lends itself to the
library's own ``DecisionRouter``. What happened to a call stands in its answers: nothing here
raises because a model, a network or a quota failed.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from math import ceil
from typing import ClassVar, Final

import httpx
from google import genai
from google.genai import types
from google.genai.errors import APIError
from pydantic import Field, PrivateAttr
from semantic_router.decision_models.base import Answer, DecisionModel, Question, choice

from promptyard.job import Usage
from promptyard_worker.routing.caps import Purse
from promptyard_worker.routing.sheet import Sheet, Verdict

__all__ = ["NOT_ALLOWED", "Answer", "GeminiDecisionModel", "Question", "UselessAnswer", "choice"]

#: Calls in flight of one process.
MAX_CALLS: Final = 16
#: What an answer's ``error`` says where the purse did not allow the call.
NOT_ALLOWED: Final = "not allowed"
#: The Gemini API refuses a deadline below it.
_MIN_SERVER_TIMEOUT_S: Final = 10
_NO_THINKING: Final = types.ThinkingConfig(thinking_budget=0)
_NO_FUNCTION_CALLS: Final = types.AutomaticFunctionCallingConfig(disable=True)


class NotSent(TimeoutError):
    """The time was up before the call was made."""


class UselessAnswer(Exception):
    """An answer without a single verdict: blocked, empty, or not what was asked for."""


#: Of a call that was refused or never left: nothing to pay.
_UNPAID: Final = (APIError, NotSent, httpx.ConnectError, httpx.ConnectTimeout)


class GeminiDecisionModel(DecisionModel):
    """Answers choice questions about many prompts at once.

    Its confidences are the model's own words, not measured probabilities.
    """

    type: str = "gemini"
    probabilistic: ClassVar[bool] = False
    #: Opens the client; called once, when the first question comes.
    open_client: Callable[[], genai.Client] = Field(exclude=True, repr=False)
    #: Allows and bills each call; None: all calls are allowed.
    purse: Purse | None = Field(default=None, exclude=True, repr=False)
    prompts_per_call: int = 16
    excerpt_chars: int = 1500
    #: How long all calls of one question may take together.
    timeout_s: float = 10

    _client: genai.Client | None = PrivateAttr(default=None)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)
    _pool: ThreadPoolExecutor = PrivateAttr(
        default_factory=lambda: ThreadPoolExecutor(MAX_CALLS, thread_name_prefix="judge")
    )

    async def aask(self, state: object, questions: dict[str, Question]) -> dict[str, Answer]:
        """Answer the questions about one prompt."""
        return (await self.aask_many([state], questions))[0]

    async def aask_many(
        self, states: Sequence[object], questions: dict[str, Question]
    ) -> list[dict[str, Answer]]:
        """As ``ask_many``, off the event loop."""
        return await asyncio.to_thread(self.ask_many, states, questions)

    def ask_many(
        self, states: Sequence[object], questions: dict[str, Question]
    ) -> list[dict[str, Answer]]:
        """Answer the same questions about many prompts.

        An answer has ``choice``, ``confidence``, ``probabilities`` (the confidence; the
        other routes share the rest) and ``reason``. Where there is none, ``choice`` is None
        and ``error`` says why: the name of an exception, or ``NOT_ALLOWED``.

        Raises:
            ValueError: a question is no choice.
        """
        prompts = [str(state) for state in states]
        asked = {name: self._choose(prompts, one) for name, one in questions.items()}
        return [{name: asked[name][row] for name in asked} for row in range(len(prompts))]

    def _choose(self, prompts: Sequence[str], question: Question) -> list[Answer]:
        routes = question.get("criteria")
        if question.get("type") != "choice" or not isinstance(routes, dict):
            raise ValueError("This model answers choice questions only.")
        deadline_s = time.monotonic() + self.timeout_s
        sheets = [
            Sheet(
                question=str(question["instructions"]),
                routes=routes,
                prompts=prompts[start : start + self.prompts_per_call],
                excerpt_chars=self.excerpt_chars,
            )
            for start in range(0, len(prompts), self.prompts_per_call)
        ]
        calls = [self._pool.submit(self._call, sheet, deadline_s) for sheet in sheets]
        wait(calls, timeout=self.timeout_s)
        return [
            answer
            for sheet, call in zip(sheets, calls, strict=True)
            for answer in _answers(sheet, call)
        ]

    def _call(self, sheet: Sheet, deadline_s: float) -> list[Verdict | None] | None:
        """Ask one sheet and pay for it; None if the purse does not allow it."""
        client = self._opened()
        expected_usd = 0.0 if self.purse is None else self.purse.take(_expected(sheet))
        if expected_usd is None:
            return None
        usage: Usage | None = None
        try:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:  # it waited for the store
                raise NotSent
            response = self._generate(client, sheet, left_s=left_s)
            usage = _usage(response)
        except _UNPAID:
            usage = Usage()
            raise
        finally:
            # what a call took whose answer never came is not known: the estimate stays
            if self.purse is not None and usage is not None:
                self.purse.settle(expected_usd, usage)
        verdicts = sheet.read(response.text or "")
        if not any(verdicts):
            raise UselessAnswer
        return verdicts

    def _generate(
        self, client: genai.Client, sheet: Sheet, *, left_s: float
    ) -> types.GenerateContentResponse:
        server_timeout_s = max(_MIN_SERVER_TIMEOUT_S, ceil(left_s))
        config = types.GenerateContentConfig(
            system_instruction=sheet.instruction,
            temperature=0,
            max_output_tokens=sheet.max_output_tokens,
            response_mime_type="application/json",
            response_json_schema=sheet.schema,
            thinking_config=_NO_THINKING,
            automatic_function_calling=_NO_FUNCTION_CALLS,
            automatic_continuation=False,
            http_options=types.HttpOptions(
                timeout=max(1, round(left_s * 1000)),
                headers={"X-Server-Timeout": str(server_timeout_s)},
            ),
        )
        return client.models.generate_content(
            model=self.name, contents=sheet.contents, config=config
        )

    def _opened(self) -> genai.Client:
        with self._lock:
            if self._client is None:
                self._client = self.open_client()
            return self._client


def _answers(sheet: Sheet, call: Future[list[Verdict | None] | None]) -> list[Answer]:
    """One answer a prompt of the sheet, whatever became of the call."""
    if not call.done():
        call.cancel()
        return [_no_answer(TimeoutError.__name__)] * len(sheet.prompts)
    if (error := call.exception()) is not None:
        return [_no_answer(_named(error))] * len(sheet.prompts)
    verdicts = call.result()
    if verdicts is None:
        return [_no_answer(NOT_ALLOWED)] * len(sheet.prompts)
    routes = list(sheet.routes)
    return [_answer(one, routes) if one else _no_answer(None) for one in verdicts]


def _answer(verdict: Verdict, routes: Sequence[str]) -> Answer:
    rest = (1 - verdict.confidence) / max(1, len(routes) - 1)
    return {
        "type": "choice",
        "choice": verdict.route,
        "confidence": verdict.confidence,
        "probabilities": dict.fromkeys(routes, rest) | {verdict.route: verdict.confidence},
        "reason": verdict.reason,
    }


def _no_answer(error: str | None) -> Answer:
    return {
        "type": "choice",
        "choice": None,
        "confidence": 0.0,
        "probabilities": {},
        "reason": None,
        "error": error,
    }


def _expected(sheet: Sheet) -> Usage:
    """What the call takes at most, about."""
    return Usage(prompt_tokens=sheet.prompt_tokens, output_tokens=sheet.max_output_tokens)


def _usage(response: types.GenerateContentResponse) -> Usage:
    count = response.usage_metadata or types.GenerateContentResponseUsageMetadata()
    return Usage(
        prompt_tokens=count.prompt_token_count or 0,
        output_tokens=count.candidates_token_count or 0,
        thinking_tokens=count.thoughts_token_count or 0,
        cached_tokens=count.cached_content_token_count or 0,
    )


def _named(error: BaseException) -> str:
    """Its type, and the status of an answer; a message may quote a prompt."""
    name = type(error).__name__
    return f"{name} {error.code}" if isinstance(error, APIError) else name
