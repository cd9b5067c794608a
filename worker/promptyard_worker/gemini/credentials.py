"""Who pays: an API key of the Gemini API, or a project of Google Cloud (Vertex AI)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from promptyard.errors import SettingsError

#: Vertex AI's location that routes to wherever there is capacity.
DEFAULT_LOCATION = "global"

#: In the SDK's own order: ``GOOGLE_API_KEY`` wins where both are set.
_KEY_VARIABLES = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
_VERTEX_SWITCHES = ("GOOGLE_GENAI_USE_ENTERPRISE", "GOOGLE_GENAI_USE_VERTEXAI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What ``genai.Client`` is opened with; never prints the key."""

    api_key: str | None = field(default=None, repr=False)
    #: Google Cloud project; its tokens come from Application Default Credentials.
    project: str | None = None
    location: str = DEFAULT_LOCATION
    #: Whether calls go to Vertex AI instead of the Gemini API.
    vertexai: bool = False

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Credentials:
        """Read the variables that the Gemini SDK reads.

        An API key comes before a project, unless ``GOOGLE_GENAI_USE_VERTEXAI`` says
        that Vertex AI is meant.

        Raises:
            SettingsError: there is neither a key nor a project.
        """
        env = os.environ if environ is None else environ
        api_key = next((env[name] for name in _KEY_VARIABLES if env.get(name)), None)
        project = env.get("GOOGLE_CLOUD_PROJECT") or None
        location = env.get("GOOGLE_CLOUD_LOCATION") or DEFAULT_LOCATION
        wants_vertex = any(env.get(name, "").lower() in {"1", "true"} for name in _VERTEX_SWITCHES)
        if project and (wants_vertex or not api_key):
            return cls(project=project, location=location, vertexai=True)
        if api_key:
            return cls(api_key=api_key.strip(), vertexai=wants_vertex)
        raise SettingsError(
            "No credentials for Gemini: set GEMINI_API_KEY (https://aistudio.google.com/apikey), "
            "or GOOGLE_CLOUD_PROJECT after `gcloud auth application-default login`."
        )
