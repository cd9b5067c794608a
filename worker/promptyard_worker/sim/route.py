"""Which model and method a path names, in the Gemini API and on Vertex."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from promptyard_worker.sim.profile import ModelProfile

GENERATE_METHODS: Final = frozenset({"generateContent", "streamGenerateContent"})
EMBED_METHODS: Final = frozenset({"embedContent", "batchEmbedContents", "predict"})
METHODS: Final = GENERATE_METHODS | EMBED_METHODS | {"countTokens"}

_PATH: Final = re.compile(
    r"/(?P<version>v1|v1alpha|v1beta|v1beta1)"
    r"/(?P<vertex>(?:projects/[^/]+/locations/[^/]+/)?publishers/google/)?models"
    r"(?:/(?P<model>[^/:]+)(?::(?P<method>[A-Za-z]+))?)?"
)


@dataclass(frozen=True, slots=True)
class Route:
    """What a path means.

    Attributes:
        version: ``v1``, ``v1beta``, ...
        vertex: whether it is a path of Vertex AI.
        model: the model's name; None for the list of models.
        method: what follows the colon; None for a description.
        resource: the model's resource name as the path has it.
    """

    version: str
    vertex: bool
    model: str | None
    method: str | None
    resource: str


def read_path(path: str) -> Route | None:
    """The route of a path, or None if it is none of the API's."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    vertex = found["vertex"] is not None
    resource = f"{found['vertex'] or ''}models/{found['model'] or ''}"
    return Route(found["version"], vertex, found["model"], found["method"], resource)


def describe(profile: ModelProfile, *, vertex: bool) -> dict[str, Any]:
    """The model's entry in the list of models."""
    if vertex:
        name = f"publishers/google/models/{profile.name}"
        return {"name": name, "versionId": "simulated", "launchStage": "GA"}
    entry: dict[str, Any] = {
        "name": f"models/{profile.name}",
        "version": "simulated",
        "displayName": f"{profile.name} (simulated)",
        "description": "Promptyard's stand-in; its answers are simulated.",
        "inputTokenLimit": profile.input_token_limit,
        "outputTokenLimit": profile.output_token_limit,
        "supportedGenerationMethods": list(profile.methods),
    }
    if not profile.embeds:
        entry |= {"temperature": 1, "topP": 0.95, "topK": 64, "maxTemperature": 2, "thinking": True}
    return entry
