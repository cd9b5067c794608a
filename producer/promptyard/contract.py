"""What all models of the contract have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Contract(BaseModel):
    """A frozen value that goes to JSON and back."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        ser_json_timedelta="float",
        ser_json_bytes="base64",
        protected_namespaces=(),
    )
