"""What ``promptyard doctor`` asks of the worker package."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from promptyard.errors import SettingsError
from promptyard.job import ErrorType
from promptyard.settings import Settings

if TYPE_CHECKING:
    from google import genai

_TIMEOUT_MS: Final = 10_000
_OUT_OF_REACH: Final = "look at the network, the proxy, and GOOGLE_GEMINI_BASE_URL if it is set"
_REMEDIES: Final = {
    ErrorType.UNAUTHENTICATED: "give the workers a key that is valid (GEMINI_API_KEY)",
    ErrorType.CONNECTION: _OUT_OF_REACH,
    ErrorType.TIMEOUT: _OUT_OF_REACH,
}


def check_router_file(settings: Settings) -> str:
    """Say which router file is in use.

    Raises:
        RouterFileError: it cannot be used; the message has the remedy.
    """
    from promptyard_worker.routing.file import find_router_file, load_router

    path = find_router_file(settings.router_file)
    config = load_router(path)
    return f"{path}, policy {config.policy_version}"


def check_gemini(settings: Settings) -> str:
    """Ask the API for the router file's models: costs nothing, and shows whether it takes the key.

    Raises:
        SettingsError: the key is refused, a model is not there, or the API is out of reach.
        RouterFileError: the router file cannot be used.
    """
    from promptyard_worker.gemini.blocking import blocking_client
    from promptyard_worker.gemini.credentials import Credentials
    from promptyard_worker.routing.file import find_router_file, load_router

    try:
        credentials = Credentials.from_env()
    except SettingsError:
        return "not asked: there is no key"
    models = list(load_router(find_router_file(settings.router_file)).models)
    with contextlib.closing(blocking_client(credentials=credentials)) as client:
        missing = [model for model in models if not _is_there(model, client)]
    if missing:
        raise SettingsError(
            f"The API does not know {', '.join(missing)} of the router file, or not with this "
            "key: correct the name, or ask for access."
        )
    return f"takes the key, and has all {len(models)} models of the router file"


def _is_there(model: str, client: genai.Client) -> bool:
    from google.genai import types

    from promptyard_worker.gemini.taxonomy import classify_exception

    soon = types.HttpOptions(timeout=_TIMEOUT_MS)
    try:
        client.models.get(model=model, config=types.GetModelConfig(http_options=soon))
    except Exception as error:
        failure = classify_exception(error).error
        if failure.type is ErrorType.MODEL_UNAVAILABLE:
            return False
        remedy = _REMEDIES.get(failure.type, "run this again, then look at Google's status page")
        raise SettingsError(f"{failure.message.rstrip('.')}: {remedy}.") from error
    return True
