"""Decides which tier and model a prompt deserves, by the policy in router.yaml.

Here is only what every worker needs: the policy. The router itself is in
``routing.router``; importing it loads semantic-router (1.5 s), so only what classifies
imports it.
"""

from promptyard_worker.routing.config import (
    EncoderConfig,
    ModelConfig,
    RetryConfig,
    RouteConfig,
    RouterConfig,
    SemanticConfig,
)
from promptyard_worker.routing.file import find_router_file, load_router

__all__ = [
    "EncoderConfig",
    "ModelConfig",
    "RetryConfig",
    "RouteConfig",
    "RouterConfig",
    "SemanticConfig",
    "find_router_file",
    "load_router",
]
