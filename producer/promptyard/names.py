"""The names both sides of the yard agree on: tasks, queues, tiers, key prefix."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

#: Celery task that embeds and routes a chunk of jobs; sent by name.
CLASSIFY_TASK: Final = "promptyard.classify"
#: Celery task that calls the model for one job; its task id is the job id.
GENERATE_TASK: Final = "promptyard.generate"

#: Queue of the classify task.
CLASSIFY_QUEUE: Final = "classify"

#: Most job ids that one classify message carries.
CLASSIFY_CHUNK: Final = 64

#: Every Redis key of ours begins with it.
KEY_PREFIX: Final = "promptyard"


class Tier(StrEnum):
    """A tier is a queue with its own concurrency, quota and model."""

    #: Complex reasoning: hard code, proofs, deep analysis, long plans.
    PRO = "pro"
    #: Conversation, writing, summaries, explanation.
    FLASH = "flash"
    #: Classification, extraction, short translation, small talk.
    LITE = "lite"


#: Priorities of jobs, the most urgent first; each queue has a list for each.
PRIORITIES: Final = range(10)

#: Every queue a full stack consumes.
QUEUES: Final = (CLASSIFY_QUEUE, *(str(tier) for tier in Tier))
