"""Decides which tier and model a prompt deserves, by the policy in router.yaml.

Here is only what every worker needs: the policy. The router itself is in
``routing.router``; its stages load numpy and what they use of semantic-router, so only what
classifies imports it.
"""

from promptyard_worker.routing import library
from promptyard_worker.routing.config import RouteConfig, RouterConfig
from promptyard_worker.routing.execution import (
    BreakerConfig,
    ModelConfig,
    QuotaConfig,
    RetryConfig,
)
from promptyard_worker.routing.file import find_router_file, load_router
from promptyard_worker.routing.stages import EncoderConfig, SemanticConfig

library.prepare()

__all__ = [
    "BreakerConfig",
    "EncoderConfig",
    "ModelConfig",
    "QuotaConfig",
    "RetryConfig",
    "RouteConfig",
    "RouterConfig",
    "SemanticConfig",
    "find_router_file",
    "load_router",
]
