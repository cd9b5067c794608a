"""The learned router: how likely each tier or model is good enough for a prompt."""

from promptyard_worker.routing.learned.stage import LearnedStage

__all__ = ["LearnedStage"]
