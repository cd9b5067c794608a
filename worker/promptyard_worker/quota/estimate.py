"""What a call will take of the quota and of a budget, before it is made."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from promptyard.job import Usage
from promptyard_worker import tokens

if TYPE_CHECKING:
    from promptyard.job import Job
    from promptyard_worker.routing.execution import ModelConfig


def input_tokens(job: Job) -> int:
    """Input tokens of a job, as ``tokens`` estimates them; at least 1.

    The scripts correct them by the ratio of real to estimated tokens of the model.
    """
    total = tokens.count(job.system_instruction or "")
    if isinstance(job.contents, str):
        total += tokens.count(job.contents)
    else:
        for part in (part for turn in job.contents for part in turn.parts):
            if part.text is not None:
                total += tokens.count(part.text)
            else:
                total += tokens.count_part(part.model_dump(by_alias=True, exclude_none=True))
    if job.response_schema is not None:
        total += _schema_tokens(json.dumps(job.response_schema))
    return max(1, total)


def cost_usd(model: ModelConfig, prompt_tokens: int) -> float:
    """What a call with a usual answer costs, in US dollars."""
    usage = Usage(prompt_tokens=prompt_tokens, output_tokens=model.typical_output_tokens)
    return model.price.cost_usd(usage)


@lru_cache(maxsize=64)
def _schema_tokens(schema: str) -> int:
    return tokens.count(schema)
