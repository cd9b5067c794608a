"""Errors as the SDK raises them from the JSON bodies that Google answers with."""

from __future__ import annotations

from typing import Any

from google.genai.errors import APIError, ClientError, ServerError

RPC = "type.googleapis.com/google.rpc."


def api_error(
    code: int, message: str = "said", *details: dict[str, Any], status: str = "S"
) -> APIError:
    """An error answer."""
    error = {"code": code, "message": message, "status": status, "details": list(details)}
    kind = ClientError if code < 500 else ServerError
    return kind(code, {"error": error}, None)


def error_info(reason: str, **metadata: str) -> dict[str, Any]:
    """``google.rpc.ErrorInfo``."""
    info = {"reason": reason, "domain": "googleapis.com", "metadata": metadata}
    return {"@type": RPC + "ErrorInfo", **info}


def retry_info(delay: str) -> dict[str, Any]:
    """``google.rpc.RetryInfo``."""
    return {"@type": RPC + "RetryInfo", "retryDelay": delay}


def quota_failure(*quota_ids: str) -> dict[str, Any]:
    """``google.rpc.QuotaFailure`` with a violation for each id."""
    violations = [{"quotaId": quota_id, "quotaValue": "20"} for quota_id in quota_ids]
    return {"@type": RPC + "QuotaFailure", "violations": violations}
