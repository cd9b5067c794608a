"""The judge: an LLM that is asked about what the stages before were not sure of.

Whatever goes wrong with it (no credentials, no quota, no answer in time) leaves its prompts
open: they take the default. It never raises, and rests after failures in a row, so that it
does not hold up every chunk.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Sequence
from typing import Final

from promptyard.errors import RouterFileError
from promptyard_worker.routing.caps import LocalAllowance, Purse, Rest, Share
from promptyard_worker.routing.config import RouteConfig, RouterConfig
from promptyard_worker.routing.decision_model import (
    NOT_ALLOWED,
    Answer,
    GeminiDecisionModel,
    Question,
    choice,
)
from promptyard_worker.routing.reading import Reading
from promptyard_worker.routing.services import Services
from promptyard_worker.routing.sheet import QUESTION
from promptyard_worker.routing.stage import Chunk, Fork, Opinion

log = logging.getLogger(__name__)

#: Utterances that say what a route without a description is for, and characters of each.
_UTTERANCES: Final = 5
_UTTERANCE_CHARS: Final = 200

_OPEN: Final = Opinion()


class JudgeStage:
    """Asks Gemini which route of a fork suits a prompt."""

    name = "judge"

    def __init__(self, config: RouterConfig, services: Services) -> None:
        """Prepare the questions; the client is opened with the first of them.

        Raises:
            RouterFileError: the policy has no judge, or not its model.
        """
        judge = config.judge
        if judge is None:
            raise RouterFileError(
                "The stages name the judge, but the router file has no `judge:`. "
                "Add it, with a model, or take it off the stages."
            )
        price = config.model(judge.model).price
        self._judge = judge
        self._share = Share(judge.max_share)
        self._rest = Rest()
        self._model = GeminiDecisionModel(
            name=judge.model,
            open_client=services.gemini,
            purse=Purse(services.allowance or LocalAllowance(), judge, price),
            prompts_per_call=judge.prompts_per_call,
            excerpt_chars=judge.excerpt_chars,
            timeout_s=judge.timeout_s,
        )
        self._counted: weakref.WeakSet[Chunk] = weakref.WeakSet()

    def opinions(self, chunk: Chunk, fork: Fork) -> list[Opinion]:
        """One opinion a job of the chunk, in order; open ones where it may not or cannot see."""
        wanted = 0 if self._rest.is_on else len(chunk)
        grant = self._share.take(arrived=self._arrived(chunk), wanted=wanted)
        answers = self._ask(chunk.readings[: grant.granted], fork) if grant.granted else []
        refused = sum(answer.get("error") == NOT_ALLOWED for answer in answers)
        self._share.give_back(grant, refused)
        opinions = [self._opinion(answer) for answer in answers]
        return opinions + [_OPEN] * (len(chunk) - len(opinions))

    def _arrived(self, chunk: Chunk) -> int:
        """Prompts of the whole chunk when it first comes here, at whatever fork."""
        whole = chunk.whole
        if whole in self._counted:
            return 0
        self._counted.add(whole)
        return len(whole)

    def _ask(self, readings: Sequence[Reading], fork: Fork) -> list[Answer]:
        """The answers about prompts; none at all if asking itself failed."""
        states = [_described(reading) for reading in readings]
        questions = {"route": self._question(fork)}
        try:
            answers = [found["route"] for found in self._model.ask_many(states, questions)]
        except Exception as error:  # a fault of ours must not fail the jobs either
            self._failed([type(error).__name__] * len(states))
            return []
        ends = [answer.get("error") for answer in answers]
        if failures := [str(end) for end in ends if end not in (None, NOT_ALLOWED)]:
            self._failed(failures)
        elif None in ends:
            self._rest.succeeded()
        return answers

    def _failed(self, failures: Sequence[str]) -> None:
        """One failure a prompt: its type, never its message, which may quote the prompt."""
        rest_s = self._rest.failed()
        log.warning(
            "The judge failed on %d prompts, which take the default: %s.%s",
            len(failures),
            ", ".join(sorted(set(failures))),
            f" It rests for {rest_s:g} s." if rest_s else "",
        )

    def _question(self, fork: Fork) -> Question:
        meanings = {route.name: _meaning(route) for route in fork.routes}
        return choice(self._judge.instructions or QUESTION, meanings)

    def _opinion(self, answer: Answer) -> Opinion:
        route, confidence = answer["choice"], answer["confidence"]
        if not isinstance(route, str) or not isinstance(confidence, float):
            return _OPEN
        probabilities = answer["probabilities"]
        return Opinion(
            pick=route if confidence >= self._judge.threshold else None,
            probabilities=probabilities if isinstance(probabilities, dict) else {},
            reason=str(answer["reason"]) or None,
        )


def _meaning(route: RouteConfig) -> str:
    """What belongs to a route, in one line, as semantic-router's ``DecisionRouter`` has it."""
    if route.description:
        return " ".join(route.description.split())
    utterances = list(route.all_utterances())[:_UTTERANCES]
    if not utterances:
        return f"requests for the tier {route.tier}" if route.tier else ""
    return "requests like: " + "; ".join(
        " ".join(text.split())[:_UTTERANCE_CHARS] for text in utterances
    )


def _described(reading: Reading) -> str:
    """A prompt in the order it was written, so that an excerpt keeps the task's two ends."""
    parts = [f"System instruction: {reading.instruction}"] if reading.instruction else []
    parts += [f"Earlier turn: {turn}" for turn in reversed(reading.context)]
    parts.append(reading.text or "(no text)")
    if reading.media:
        parts.append(f"(With it: {', '.join(sorted(reading.media))}.)")
    if reading.asks_schema:
        parts.append("(The answer must be JSON of a given schema.)")
    return "\n\n".join(parts)
