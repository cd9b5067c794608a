"""Builds the stages that a policy names, in its order; imports nothing that it does not use."""

from __future__ import annotations

from promptyard_worker.routing.config import RouterConfig
from promptyard_worker.routing.embedding import ReadingEmbedder, build_embedder
from promptyard_worker.routing.services import Services
from promptyard_worker.routing.stage import Stage
from promptyard_worker.routing.stages import StageName


def assemble(config: RouterConfig, services: Services) -> tuple[ReadingEmbedder, tuple[Stage, ...]]:
    """The embedder and the stages of a policy.

    Raises:
        RouterFileError: one of them cannot be built.
    """
    embedder = build_embedder(config, services)
    return embedder, tuple(_stage(name, config, embedder, services) for name in config.stage_order)


def _stage(
    name: StageName, config: RouterConfig, embedder: ReadingEmbedder, services: Services
) -> Stage:
    if name == "rules":
        from promptyard_worker.routing.rules import RulesStage

        return RulesStage(config.rules)
    if name == "semantic":
        from promptyard_worker.routing.semantic import SemanticStage

        return SemanticStage(config, embedder)
    if name == "learned":
        from promptyard_worker.routing.learned import LearnedStage

        return LearnedStage.of(config, embedder)
    from promptyard_worker.routing.judge import JudgeStage

    return JudgeStage(config, services)
