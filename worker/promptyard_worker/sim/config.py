"""Everything the stand-in can be told."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from promptyard_worker.sim.fault import Fault
from promptyard_worker.sim.profile import DEFAULT_MODELS

#: In a limit, the model name that stands for every model not named itself.
EVERY_MODEL: Final = "*"

Limit = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, le=1)]

_LIMIT_FIELDS: Final = ("rpm", "tpm", "rpd", "max_concurrency", "context_tokens")


class SimConfig(BaseModel):
    """The stand-in's settings. All limits are per model; none by default.

    Attributes:
        models: names served; any other name is answered 404.
        latency_scale: 1.0 is real latency, 0 none at all.
        rpm: requests in any 60 s, by model name or ``"*"``.
        tpm: input tokens in any 60 s.
        rpd: requests since midnight Pacific time.
        max_concurrency: calls answered at the same time.
        context_tokens: input token limit, to rehearse a prompt that is too long.
        faults: rate of each fault, in all at most 1.
        seed: another seed, other faults and latencies.
        api_key: if set, every other key is refused.
        hang_s: seconds after which a hanging call is dropped; None waits for the client.
        access_log: one log line a call (model, method, status, never prompt or key).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[str, ...] = Field(default=DEFAULT_MODELS, min_length=1)
    latency_scale: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    rpm: dict[str, Limit] = Field(default_factory=dict)
    tpm: dict[str, Limit] = Field(default_factory=dict)
    rpd: dict[str, Limit] = Field(default_factory=dict)
    max_concurrency: dict[str, Limit] = Field(default_factory=dict)
    context_tokens: dict[str, Limit] = Field(default_factory=dict)
    faults: dict[Fault, Rate] = Field(default_factory=dict)
    seed: int = 0
    api_key: str | None = Field(default=None, min_length=1, repr=False)
    hang_s: float | None = Field(default=None, gt=0)
    access_log: bool = False

    @model_validator(mode="after")
    def _known_models_only(self) -> Self:
        """A limit for a model that is not served would silently do nothing."""
        known = {*self.models, EVERY_MODEL}
        for field in _LIMIT_FIELDS:
            limits: dict[str, int] = getattr(self, field)
            for name in limits:
                if name not in known:
                    served = ", ".join(self.models)
                    raise ValueError(f"{field}: no model {name!r} here; served are {served}")
        return self

    @model_validator(mode="after")
    def _rates_add_up(self) -> Self:
        """Each call has one fault at most."""
        total = sum(self.faults.values())
        if total > 1 + 1e-9:
            raise ValueError(f"the fault rates add up to {total:g}; they may not exceed 1")
        return self


def limit_of(limits: dict[str, int], model: str) -> int | None:
    """The limit of one model: its own, else that of ``"*"``, else None."""
    own = limits.get(model)
    return limits.get(EVERY_MODEL) if own is None else own
