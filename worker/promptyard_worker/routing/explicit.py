"""The decision of a job that names its tier or its model: nothing to embed."""

from __future__ import annotations

from promptyard.errors import RouterFileError
from promptyard.job import Decision, ErrorType, Job, JobError
from promptyard_worker.routing.config import RouterConfig


def explicit_decision(job: Job, config: RouterConfig) -> Decision | JobError | None:
    """Decide by what the job says; None if it names neither tier nor model.

    A model that the router file does not have is the job's own error.
    """
    if job.tier is None and job.model is None:
        return None
    if job.model is not None and job.model not in config.models:
        known = ", ".join(config.models)
        return JobError(
            type=ErrorType.INVALID_REQUEST,
            message=f"Unknown model {job.model!r}: the router file has {known}.",
        )
    tier = job.tier or config.models[str(job.model)].tier
    try:
        model = job.model or config.default_model(tier)
    except RouterFileError as error:
        return JobError(type=ErrorType.INVALID_REQUEST, message=str(error))
    return Decision(
        stage="explicit",
        tier=tier,
        model=model,
        thinking_budget=config.thinking_budget(model),
        policy_version=config.policy_version,
    )
