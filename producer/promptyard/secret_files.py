"""Secrets from files, as Docker and Kubernetes mount them: ``NAME_FILE`` names the file of NAME."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from promptyard.errors import SettingsError

SECRETS: Final = (
    "REDIS_URL",
    "REDIS_PASSWORD",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "FLOWER_BASIC_AUTH",
)


def read_secret_files(environ: MutableMapping[str, str]) -> None:
    """Put the content of secret files where the secrets are looked for; a set variable wins.

    ``REDIS_PASSWORD`` is put into ``REDIS_URL`` if that holds none.

    Raises:
        SettingsError: a file that is named cannot be read.
    """
    for name in SECRETS:
        path = environ.get(f"{name}_FILE")
        if path and not environ.get(name):
            environ[name] = _content(name, path)
    url, password = environ.get("REDIS_URL"), environ.get("REDIS_PASSWORD")
    if url and password:
        environ["REDIS_URL"] = with_password(url, password)


def with_password(url: str, password: str) -> str:
    """The Redis URL with the password, unless it has one."""
    parts = urlsplit(url)
    if parts.password or not parts.hostname:
        return url
    user = quote(parts.username or "", safe="")
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{user}:{quote(password, safe='')}@{host}"
    return urlunsplit(parts._replace(netloc=netloc))


def _content(name: str, path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise SettingsError(
            f"{name}_FILE={path} cannot be read: {error.strerror}. Correct it or unset it."
        ) from error
