"""Whether an answer meets the job's ``response_schema``, and if not, where and why not.

The schema is JSON Schema, draft 2020-12 unless its ``$schema`` names another, or in Gemini's own
dialect (``dialect``). Unknown keywords say nothing, as JSON Schema has it. ``format`` is not
asserted (``engine`` says why). ``oneOf`` means exactly one, though Gemini reads it as ``anyOf``.
Only references inside the schema are followed; nothing is fetched.

A schema is a user's and an answer a model's: neither may stall or crash a worker. So a schema has
bounds (``bounds``), and so have the answer's depth and the lines that tell what is wrong with it.
"""

from promptyard_worker.gemini.schema.checker import check_schema, problems
from promptyard_worker.gemini.schema.graph import InvalidSchema
from promptyard_worker.gemini.schema.problems import MOST_PROBLEMS
from promptyard_worker.gemini.schema.words import MOST_CHARACTERS

__all__ = ["MOST_CHARACTERS", "MOST_PROBLEMS", "InvalidSchema", "check_schema", "problems"]
