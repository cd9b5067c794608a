"""Directives in a prompt: ``[[sim: 503 x2, latency=2s]]``.

Items stand in one bracket or several, parted by blanks, commas or semicolons:

- a fault (see :class:`promptyard_worker.sim.fault.Fault`), for every call of the prompt;
- a fault followed by ``xN``: for the next N calls of this very prompt only;
- ``retry=3s``, ``quota=rpm`` (or ``tpm``, ``rpd``): a played 429 names this quota and this
  delay, as Google does; without either it is the bare 429 of a model short of capacity;
- ``model``: a played 403 is about this model alone; without it, about the key;
- ``latency=2s``: the latency of this call, whatever ``latency_scale`` is.

``[[sim: answer=JSON]]`` stands in a bracket of its own: the answer is this JSON (a string as
its bare text, where no schema is asked), whatever the schema says.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from promptyard_worker.sim.fault import Fault
from promptyard_worker.sim.quota import LimitKind
from promptyard_worker.sim.refusal import invalid

#: What every directive begins with; the only thing sought in each prompt.
MARK: Final = "[[sim:"

_ANSWER: Final = re.compile(r"\[\[sim:\s*answer=")
_ANSWER_END: Final = re.compile(r"\s*\]\]")
_BRACKET: Final = re.compile(r"\[\[sim:([^\[\]]*)\]\]")
_JSON: Final = json.JSONDecoder()
_ITEM: Final = re.compile(r"[\s,;]+")
_TIMES: Final = re.compile(r"x(\d{1,6})")
_SECONDS: Final = re.compile(r"(retry|latency)=(\d+(?:\.\d+)?)(ms|s)?")
_OF_MODEL: Final = "model"
_QUOTAS: Final[dict[str, LimitKind]] = {"quota=rpm": "rpm", "quota=tpm": "tpm", "quota=rpd": "rpd"}


@dataclass(frozen=True, slots=True)
class Directive:
    """What a prompt asks of the stand-in.

    Attributes:
        plan: faults in turn, each with the number of calls it lasts (None: for ever).
        retry_s: RetryInfo of a played 429.
        quota: the quota a played 429 names.
        of_model: whether a played 403 names the model.
        latency_s: latency in place of the drawn one.
        answer: JSON to answer with; None for an answer that the stand-in makes up.
    """

    plan: tuple[tuple[Fault, int | None], ...] = ()
    retry_s: float | None = None
    quota: LimitKind | None = None
    of_model: bool = False
    latency_s: float | None = None
    answer: str | None = None

    def fault_of(self, turn: int) -> Fault | None:
        """The fault of the ``turn``-th call (from 1) of this prompt."""
        for fault, times in self.plan:
            if times is None or turn <= times:
                return fault
            turn -= times
        return None


def parse(text: str) -> Directive:
    """All directives of a prompt, read as one.

    Raises:
        Refusal: 400 that names the item that is not known.
    """
    plan: list[tuple[Fault, int | None]] = []
    seconds: dict[str, float] = {}
    quota: LimitKind | None = None
    of_model = False
    text, answer = _take_answer(text)
    for bracket in _BRACKET.findall(text):
        for item in _ITEM.split(bracket.strip().lower()):
            if not item:
                continue
            if (times := _TIMES.fullmatch(item)) and plan:
                plan[-1] = (plan[-1][0], int(times[1]))
            elif timing := _SECONDS.fullmatch(item):
                seconds[timing[1]] = float(timing[2]) / (1000 if timing[3] == "ms" else 1)
            elif item in _QUOTAS:
                quota = _QUOTAS[item]
            elif item == _OF_MODEL:
                of_model = True
            else:
                plan.append((_fault(item), None))
    return Directive(
        tuple(plan), seconds.get("retry"), quota, of_model, seconds.get("latency"), answer
    )


def strip(text: str) -> str:
    """The prompt without its directives."""
    return _BRACKET.sub("", _take_answer(text)[0]).strip()


def _take_answer(text: str) -> tuple[str, str | None]:
    """The text without ``[[sim: answer=JSON]]``, and that JSON: of several, the last."""
    answer: str | None = None
    while begin := _ANSWER.search(text):
        try:
            _, end = _JSON.raw_decode(text, begin.end())
        except (ValueError, RecursionError):
            raise invalid("stand-in: answer= in a [[sim: ...]] directive needs JSON") from None
        closing = _ANSWER_END.match(text, end)
        if closing is None:
            raise invalid("stand-in: [[sim: answer=JSON]] stands in a bracket of its own")
        answer = text[begin.end() : end]
        text = text[: begin.start()] + text[closing.end() :]
    return text, answer


def _fault(item: str) -> Fault:
    try:
        return Fault(item)
    except ValueError:
        known = ", ".join(
            [*Fault, "xN", "retry=Ns", *_QUOTAS, _OF_MODEL, "latency=Ns", "answer=JSON"]
        )
        raise invalid(
            f"stand-in: unknown item {item!r} in a [[sim: ...]] directive; known are {known}"
        ) from None
