"""Whom an error answer is about: the caller, the model, the job, or the server itself.

It decides how far a failure reaches. What is about the caller stops every model of the key;
what is about the job stops that job only. So a 403 or 404 for a file that one job names must
never pass for a refusal of the key. Codes: https://ai.google.dev/gemini-api/docs/troubleshooting;
reasons: ``google/api/error_reason.proto``; wordings: bodies that people report.
"""

from __future__ import annotations

import re
from typing import Final

from promptyard.job import ErrorType
from promptyard_worker.gemini.error_answer import ErrorAnswer

_BY_CODE: Final = {
    401: ErrorType.UNAUTHENTICATED,
    402: ErrorType.UNAUTHENTICATED,
    408: ErrorType.TIMEOUT,
    409: ErrorType.SERVER_ERROR,  # ABORTED: try again
    429: ErrorType.QUOTA_EXCEEDED,
    499: ErrorType.SERVER_ERROR,  # CANCELLED on the server's side; ours never reach us
}

#: The one reason of a 403 that is about a resource; all others are about the caller.
_OF_RESOURCE: Final = "IAM_PERMISSION_DENIED"
#: How reasons begin that are about the caller whatever the code is.
_CALLER_REASONS: Final = ("API_KEY_", "ACCESS_TOKEN_", "CONSUMER_", "BILLING_", "SERVICE_DISABLED")
#: How messages begin that are about the caller although their code is a 400 or a 429: no
#: waiting and no other model helps, somebody has to pay or to move. Only the beginning counts,
#: since a 400 may quote the job further on.
_CALLER_WORDS: Final = re.compile(
    r"User location is not supported|Gemini API free tier is not available"
    r"|Your prepayment credits are depleted"
    r"|Your (?:project|billing account) has exceeded its monthly spending cap"
)
#: What a job itself names: uploaded files, cached contents, stores, objects of Cloud Storage.
_OF_JOB: Final = re.compile(
    r"\b(?:files|cachedContents|fileSearchStores|ragCorpora)/|\bgs://|\bstorage\.objects\."
    r"|access the file|\binput file\b|\bcached ?content\b|cloud storage object",
    re.IGNORECASE,
)
#: The resource name of a model; on Vertex AI a tuned one is called by its endpoint.
_MODEL: Final = re.compile(r"(?:models|tunedModels|endpoints)/[\w.@-]")
#: Links to Google's documentation have ``models/`` in them too.
_LINK: Final = re.compile(r"https?://\S+")
#: The Gemini API's wording, with the count or without it, and Vertex AI's.
_TOO_LONG: Final = re.compile(
    r"input token count(?: is)?(?: \(?(\d{1,12})\)?)?"
    r" (?:exceeds the maximum number of tokens|but (?:the )?model only supports up to)"
)


def type_of(answer: ErrorAnswer) -> ErrorType:
    """The type of error that an answer is."""
    code = answer.code
    if 400 <= code < 500 and _is_of_caller(answer):
        return ErrorType.UNAUTHENTICATED
    if code == 400 and _TOO_LONG.search(answer.text):
        return ErrorType.CONTEXT_TOO_LONG
    if code in (403, 404):
        return _type_of_refused(answer)
    return _BY_CODE.get(code) or (
        ErrorType.INVALID_REQUEST if 400 <= code < 500 else ErrorType.SERVER_ERROR
    )


def needed_tokens(answer: ErrorAnswer) -> int | None:
    """What the prompt counts, of an answer that says that it is too long."""
    found = _TOO_LONG.search(answer.text)
    return int(found[1]) if found and found[1] else None


def _is_of_caller(answer: ErrorAnswer) -> bool:
    reasons = answer.reasons
    if answer.code == 403 and reasons - {_OF_RESOURCE}:
        return True
    return bool(
        any(reason.startswith(_CALLER_REASONS) for reason in reasons)
        or _CALLER_WORDS.match(answer.text)
    )


def _type_of_refused(answer: ErrorAnswer) -> ErrorType:
    """A 403 or 404: what it names says whom it is about."""
    named = " ".join([*answer.metadata("resource"), answer.text])
    if _OF_JOB.search(named):
        return ErrorType.INVALID_REQUEST
    # A bare 404 is about the model, the one thing that every call names; a bare 403 is about
    # the caller, the one thing that every call has to prove.
    if answer.code == 404 or _MODEL.search(_LINK.sub("", named)):
        return ErrorType.MODEL_UNAVAILABLE
    return ErrorType.UNAUTHENTICATED
