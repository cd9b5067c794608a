"""Why a job went where it went."""

from __future__ import annotations

from pydantic import Field

from promptyard.contract import Contract
from promptyard.names import Tier


class Neighbour(Contract):
    """An example prompt of a route, and how near it is."""

    route: str
    utterance: str
    #: Cosine, -1 to 1.
    similarity: float


class Decision(Contract):
    """Why a job went where it went."""

    #: What decided: ``explicit`` (named by the job), ``rules``, ``semantic``, ``learned``,
    #: ``judge`` or ``default`` (nobody was sure).
    stage: str
    #: The route, if one decided; a sub-route is ``parent/child``.
    route: str | None = None
    tier: Tier
    model: str
    #: Score of every route, higher is nearer.
    scores: dict[str, float] = Field(default_factory=dict)
    #: Probability that a route is right (semantic if calibrated, judge), or that a tier or
    #: model is good enough (learned).
    probabilities: dict[str, float] = Field(default_factory=dict)
    #: How far from another decision: lead of the best route over the second; for the learned
    #: stage, distance of a probability from the nearest bar that would have changed it.
    margin: float | None = None
    #: The rule that matched.
    rule: str | None = None
    #: How hard the prompt is, 0 to 1; None where no learned router looked at it.
    difficulty: float | None = None
    #: The example prompts nearest to it, nearest first.
    nearest: tuple[Neighbour, ...] = ()
    #: Why, in words, where there are some.
    reason: str | None = None
    #: Thinking budget in tokens: 0 off, -1 dynamic, None the model's own default.
    thinking_budget: int | None = None
    #: What the call will cost by the estimates of router.yaml, in US dollars.
    estimated_cost_usd: float | None = None
    #: Identifies the router.yaml that decided (hash of its content).
    policy_version: str
