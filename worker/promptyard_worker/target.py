"""What a job's record asks for: the job, the decision, the model to call now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zstandard
from pydantic import ValidationError

from promptyard.job import Decision, Job
from promptyard.store import codec
from promptyard.store.records import unreadable
from promptyard_worker.gemini.schema import InvalidSchema, check_schema
from promptyard_worker.routing.explicit import explicit_decision

if TYPE_CHECKING:
    from promptyard.store.running import Claim
    from promptyard_worker.policy import Policy, PolicyWatch
    from promptyard_worker.routing.config import RouterConfig


class Unusable(Exception):
    """The record cannot be worked on; the message says why."""


@dataclass(frozen=True)
class Target:
    """One job, and where it goes now."""

    job: Job
    decision: Decision
    #: The decision's model, or another one of its chain.
    model: str
    #: What it was decided and is called by.
    policy: Policy
    #: Whether classify had no part: the job names its tier or model.
    is_own_decision: bool

    @property
    def config(self) -> RouterConfig:
        """The router file's content."""
        return self.policy.config

    @property
    def call_decision(self) -> Decision:
        """A fallback model thinks by its own budget: another's may be refused there."""
        if self.model == self.decision.model:
            return self.decision
        budget = self.config.thinking_budget(self.model)
        return self.decision.model_copy(update={"model": self.model, "thinking_budget": budget})


async def find_target(claim: Claim, policies: PolicyWatch) -> Target:
    """Read the record; who routed the job may know a newer router file than this worker.

    Raises:
        Unusable: it cannot be read, asks for a schema that is none, or names a tier or model
            that the router file does not have.
    """
    try:
        job = Job.model_validate_json(codec.decode(claim.request))
        if job.response_schema is not None:
            check_schema(job.response_schema)
    except (ValidationError, zstandard.ZstdError) as error:
        raise Unusable(f"The job record cannot be read: {unreadable(error)}") from error
    except InvalidSchema as error:
        raise Unusable(f"The response_schema cannot be used: {error}") from error
    policy = policies.policy
    try:
        return _find(job, claim, policy)
    except (Unusable, ValidationError) as error:
        newer = await asyncio.to_thread(policies.look)
        if newer is policy:
            raise _as_unusable(error) from error
    try:
        return _find(job, claim, newer)
    except (Unusable, ValidationError) as error:
        raise _as_unusable(error) from error


def _find(job: Job, claim: Claim, policy: Policy) -> Target:
    is_own = not claim.decision
    decision = (
        _explicit(job, policy.config) if is_own else Decision.model_validate_json(claim.decision)
    )
    model = claim.model or decision.model
    if model not in policy.config.models:  # routed by another router file
        raise Unusable(
            f"The job cannot be routed: the router file has no model {model!r} (any more)"
        )
    return Target(job, decision, model, policy, is_own)


def _explicit(job: Job, config: RouterConfig) -> Decision:
    found = explicit_decision(job, config)
    if isinstance(found, Decision):
        return found
    reason = found.message if found else "it names neither tier nor model"
    raise Unusable(f"The job cannot be routed: {reason}")


def _as_unusable(error: Exception) -> Unusable:
    if isinstance(error, ValidationError):
        return Unusable(f"The job's decision cannot be read: {unreadable(error)}")
    return Unusable(str(error))
