"""Promptyard: put prompts in, get answers out, each from the tier that is good enough.

    >>> from promptyard import Producer
    >>> with Producer("redis://localhost:6379/0") as yard:
    ...     job_id = yard.submit("Classify this ticket: ...")
    ...     print(yard.result(job_id, timeout=60).text)

The names below are the public surface. They load on first use: ``import promptyard`` alone
costs next to nothing in a web backend's start.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from promptyard.version import __version__ as __version__

if TYPE_CHECKING:
    from promptyard.async_producer import AsyncProducer
    from promptyard.batch import Batch, BatchState, BatchStatus, Pause, TierProgress
    from promptyard.errors import (
        BatchNotFound,
        BudgetSpent,
        EmbeddingError,
        EmbeddingRefused,
        InputError,
        JobNotFound,
        PromptyardError,
        ResultTimeout,
        RouterFileError,
        SettingsError,
        StackError,
        StoreError,
        StoreFull,
        SubmitError,
        SubmitFull,
    )
    from promptyard.job import (
        Attempt,
        Content,
        Decision,
        ErrorType,
        Job,
        JobError,
        JobResult,
        JobState,
        Part,
        Timings,
        Usage,
    )
    from promptyard.names import Tier
    from promptyard.producer import Producer
    from promptyard.settings import Settings

_HOMES = {
    "promptyard.async_producer": ("AsyncProducer",),
    "promptyard.batch": ("Batch", "BatchState", "BatchStatus", "Pause", "TierProgress"),
    "promptyard.errors": (
        "BatchNotFound",
        "BudgetSpent",
        "EmbeddingError",
        "EmbeddingRefused",
        "InputError",
        "JobNotFound",
        "PromptyardError",
        "ResultTimeout",
        "RouterFileError",
        "SettingsError",
        "StackError",
        "StoreError",
        "StoreFull",
        "SubmitError",
        "SubmitFull",
    ),
    "promptyard.job": (
        "Attempt",
        "Content",
        "Decision",
        "ErrorType",
        "Job",
        "JobError",
        "JobResult",
        "JobState",
        "Part",
        "Timings",
        "Usage",
    ),
    "promptyard.names": ("Tier",),
    "promptyard.producer": ("Producer",),
    "promptyard.settings": ("Settings",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "AsyncProducer",
    "Attempt",
    "Batch",
    "BatchNotFound",
    "BatchState",
    "BatchStatus",
    "BudgetSpent",
    "Content",
    "Decision",
    "EmbeddingError",
    "EmbeddingRefused",
    "ErrorType",
    "InputError",
    "Job",
    "JobError",
    "JobNotFound",
    "JobResult",
    "JobState",
    "Part",
    "Pause",
    "Producer",
    "PromptyardError",
    "ResultTimeout",
    "RouterFileError",
    "Settings",
    "SettingsError",
    "StackError",
    "StoreError",
    "StoreFull",
    "SubmitError",
    "SubmitFull",
    "Tier",
    "TierProgress",
    "Timings",
    "Usage",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'promptyard' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value  # the next access finds it at once
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
