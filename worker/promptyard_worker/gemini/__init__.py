"""Calls Gemini: builds the request, makes one HTTP call, reads the answer, names the failure.

The ladder: ``build_request -> GeminiClient.generate -> parse_answer``, and on an
exception ``classify_exception``. Knows nothing of queues, Redis, Celery or routing.
"""

from promptyard_worker.gemini.answer import Answer, Outcome
from promptyard_worker.gemini.client import GeminiClient
from promptyard_worker.gemini.credentials import Credentials
from promptyard_worker.gemini.taxonomy import CallFailure, classify_exception

__all__ = [
    "Answer",
    "CallFailure",
    "Credentials",
    "GeminiClient",
    "Outcome",
    "classify_exception",
]
