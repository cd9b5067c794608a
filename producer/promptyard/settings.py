"""Settings from the environment.

``REDIS_URL``, ``GEMINI_API_KEY``/``GOOGLE_API_KEY``, ``GOOGLE_CLOUD_PROJECT`` and
``GOOGLE_GEMINI_BASE_URL`` mean what they mean elsewhere; ours begin with ``PROMPTYARD_``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from promptyard.errors import SettingsError

_VARIABLES = {
    "redis_url": "REDIS_URL",
    "home": "PROMPTYARD_HOME",
    "router_file": "PROMPTYARD_ROUTER",
    "retention_s": "PROMPTYARD_RETENTION_S",
    "lease_s": "PROMPTYARD_LEASE_S",
}


class Settings(BaseModel):
    """What both sides of the yard read from the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Where Redis or Valkey is (``redis://``, ``rediss://`` or ``unix://``); holds a password.
    redis_url: SecretStr | None = None
    #: Data of the embedded stack: Valkey's files, logs, the lock.
    home: Path = Path(".promptyard")
    #: The router file; None: ``./router.yaml``, else the packaged one.
    router_file: Path | None = None
    #: How long a record outlives its last move; open jobs are kept at least this long too.
    retention_s: float = Field(default=7 * 86_400, ge=60)
    #: How long a worker may be silent before its jobs go to another.
    lease_s: float = Field(default=20, ge=1)

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
            raise SettingsError(
                f"{name}={env.get(name)!r} cannot be used: {first['msg']}. Correct it or unset it."
            ) from None
