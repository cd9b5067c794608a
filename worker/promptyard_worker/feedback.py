"""How the answers of each route do: a route that needs repairs or a stronger model is misrouted.

Counted here, told now and then: a worker that is killed takes a few seconds of counts with it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from promptyard.store import Call, feedback

if TYPE_CHECKING:
    from promptyard.job import Decision


class Feedback:
    """One process' counts since the last beat."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, feedback.Kind]] = Counter()

    def answered(self, decision: Decision) -> None:
        """A job has its answer."""
        self._counts[_name(decision), feedback.Kind.ANSWERS] += 1

    def repaired(self, decision: Decision) -> None:
        """A model was told what was wrong with its answer, and asked again."""
        self._counts[_name(decision), feedback.Kind.REPAIRS] += 1

    def escalated(self, decision: Decision) -> None:
        """A job went to a stronger model."""
        self._counts[_name(decision), feedback.Kind.ESCALATIONS] += 1

    def beat(self) -> list[Call[int]]:
        """What is still to be told."""
        counts, self._counts = self._counts, Counter()
        return [feedback.add(route, kind, count) for (route, kind), count in counts.items()]


def _name(decision: Decision) -> str:
    """The route; where none decided, stage and tier."""
    return decision.route or f"({decision.stage} {decision.tier})"
