"""Settings from the environment.

``REDIS_URL``, ``GEMINI_API_KEY``/``GOOGLE_API_KEY``, ``GOOGLE_CLOUD_PROJECT`` and
``GOOGLE_GEMINI_BASE_URL`` mean what they mean elsewhere; ours begin with ``PROMPTYARD_``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from promptyard.errors import SettingsError

_VARIABLES = {
    "redis_url": "REDIS_URL",
    "home": "PROMPTYARD_HOME",
    "router_file": "PROMPTYARD_ROUTER",
    "retention_s": "PROMPTYARD_RETENTION_S",
    "lease_s": "PROMPTYARD_LEASE_S",
    "decision_log": "PROMPTYARD_DECISION_LOG",
    "log_prompts": "PROMPTYARD_LOG_PROMPTS",
    "metrics_port": "PROMPTYARD_METRICS_PORT",
    "metrics_host": "PROMPTYARD_METRICS_HOST",
    "watchdog_s": "PROMPTYARD_WATCHDOG_S",
}


#: How a Redis URL may begin.
_SCHEMES = ("redis://", "rediss://")


def checked_url(url: str) -> str:
    """Give the Redis URL back if it is one.

    Raises:
        SettingsError: it is not; the message does not quote it, it may hold a password.
    """
    if not url.startswith(_SCHEMES):
        raise SettingsError(
            f"The Redis URL begins with none of {', '.join(_SCHEMES)}: "
            "write REDIS_URL as redis://user:password@host:6379/0."
        )
    return url


class Settings(BaseModel):
    """What both sides of the yard read from the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Where Redis or Valkey is (``redis://`` or ``rediss://``); may hold a password.
    redis_url: SecretStr | None = None
    #: Data of the embedded stack: Valkey's files, logs, the lock.
    home: Path = Path(".promptyard")
    #: The router file; None: ``./router.yaml``, else the packaged one.
    router_file: Path | None = None
    #: How long a record outlives its last move; open jobs are kept at least this long too.
    retention_s: float = Field(default=7 * 86_400, ge=60)
    #: How long a worker may be silent before its jobs go to another.
    lease_s: float = Field(default=20, ge=1)
    #: Where workers write a line for every job that ended: ``stdout``, ``redis`` or a file;
    #: None: nowhere.
    decision_log: str | None = None
    #: Whether prompts stand in it.
    log_prompts: bool = False
    #: Where a worker's metrics are served; None: nowhere.
    metrics_port: int | None = Field(default=None, ge=0, le=65_535)
    #: Address of the metrics; only this machine unless another is given.
    metrics_host: str = "127.0.0.1"
    #: How long a worker that is idle may leave a message in its queue before it is started anew.
    watchdog_s: float = Field(default=60, gt=0)

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            checked_url(value.get_secret_value())
        return value

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings.

        Raises:
            SettingsError: a variable has a value that cannot be used; names the variable.
        """
        env = os.environ if environ is None else environ
        values = {field: env[name] for field, name in _VARIABLES.items() if env.get(name)}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = _VARIABLES.get(str(first["loc"][0]), str(first["loc"][0]))
            # a URL may hold a password
            shown = "" if name == "REDIS_URL" else f"={env.get(name)!r}"
            raise SettingsError(
                f"{name}{shown} cannot be used: {first['msg']}. Correct it or unset it."
            ) from None


def chosen_url(url: str | None, settings: Settings) -> str:
    """Redis as a caller names it, else as the settings do.

    Raises:
        SettingsError: neither does, or the URL is none.
    """
    if url is None and settings.redis_url is not None:
        url = settings.redis_url.get_secret_value()
    if url is None:
        raise SettingsError("No Redis is named: set REDIS_URL, or give Producer a url.")
    return checked_url(url)
