"""The blocking client, for what asks from threads: the judge and the Gemini encoder."""

from __future__ import annotations

from google import genai
from google.genai import types

from promptyard_worker.gemini.credentials import Credentials


def blocking_client(
    *, credentials: Credentials | None = None, base_url: str | None = None
) -> genai.Client:
    """Open a client that makes one HTTP call a question.

    Args:
        credentials: None: from the environment.
        base_url: None: as ``GeminiClient`` has it.

    Raises:
        SettingsError: no credentials, neither given nor in the environment.
    """
    who = credentials or Credentials.from_env()
    return genai.Client(
        vertexai=who.vertexai,
        api_key=who.api_key,
        project=who.project,
        location=who.location if who.project else None,
        # one attempt: the SDK must not send again what may have been paid (client.py)
        http_options=types.HttpOptions(
            base_url=base_url, retry_options=types.HttpRetryOptions(attempts=1)
        ),
    )
