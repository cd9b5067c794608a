"""How many tokens a prompt really counts: the API's ``countTokens``, which costs nothing.

Asked on demand only: a worker estimates (``tokens.py``) and corrects itself by what it is billed.
"""

from __future__ import annotations

from google import genai
from google.genai import types

from promptyard.job import Decision, Job
from promptyard_worker.gemini.request import build_request

_TIMEOUT_S = 30


def count_tokens(client: genai.Client, job: Job, decision: Decision) -> int:
    """Input tokens of a job on the model it was routed to, its instruction included.

    Raises:
        Exception: whatever the SDK raises; ``classify_exception`` names it.
    """
    request = build_request(job, decision, model=decision.model, timeout_s=_TIMEOUT_S)
    texts = [job.system_instruction] if job.system_instruction else []
    turns = [request.contents] if isinstance(request.contents, str) else request.contents
    counted = client.models.count_tokens(
        model=decision.model,
        # countTokens of the Gemini API takes no system instruction: it counts as any text
        contents=[*texts, *turns],
        config=types.CountTokensConfig(http_options=types.HttpOptions(timeout=1000 * _TIMEOUT_S)),
    )
    return counted.total_tokens or 0
