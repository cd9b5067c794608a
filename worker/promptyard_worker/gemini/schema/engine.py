"""jsonschema-rs with the options that make a stranger's schema harmless.

* Nothing is fetched: a reference to a URL or a file is refused.
* Patterns run in the linear engine. One with look-around or a back-reference, which it does not
  know (pydantic 2.12 writes one for ``Decimal``), runs in the other, with so few steps back that
  the time is still linear in the text: 0.3 s for the worst pattern found on 200,000 characters.
* The size of compiled patterns is bounded for the schema as a whole.
* ``format`` is not asserted. That is the default of draft 2020-12, and what a format means is
  stricter than what people take: ``date-time`` is RFC 3339 with an offset, which models often
  leave out and pydantic does not ask for. A false alarm would cost two paid calls and the job.
  Who needs a shape writes ``pattern``.
"""

from __future__ import annotations

from typing import Any

import jsonschema_rs
from jsonschema_rs import FancyRegexOptions, RegexOptions

from promptyard_worker.gemini.schema.graph import refused

#: Bytes for all compiled patterns of a schema together.
_PATTERNS_BYTES = 4_000_000
#: Bytes that each may have, however many there are: ``^\w{1,500}$`` has fewer.
_PATTERN_BYTES = 100_000
_MOST_STEPS_BACK = 1_000


class Engine:
    """Compiles what belongs to one schema."""

    def __init__(self, patterns: int) -> None:
        """Share the bytes for patterns among so many."""
        size = max(_PATTERN_BYTES, _PATTERNS_BYTES // max(1, patterns))
        self._linear = RegexOptions(size_limit=size, dfa_size_limit=size)
        self._bounded = FancyRegexOptions(
            backtrack_limit=_MOST_STEPS_BACK, size_limit=size, dfa_size_limit=size
        )

    def compile(
        self, schema: dict[str, Any], registry: jsonschema_rs.Registry | None = None
    ) -> jsonschema_rs.Validator:
        """A validator of a schema; draft 2020-12 unless its ``$schema`` names another.

        Raises:
            InvalidSchema: it is no JSON Schema.
        """
        try:
            try:
                return self._compile(schema, registry, self._linear)
            except jsonschema_rs.ValidationError:
                return self._compile(schema, registry, self._bounded)
        except jsonschema_rs.ValidationError as error:
            place = "".join(f"/{step}" for step in error.instance_path)
            raise refused(place, _why(error)) from None
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            raise refused("", str(error)) from None

    def _compile(
        self,
        schema: dict[str, Any],
        registry: jsonschema_rs.Registry | None,
        patterns: RegexOptions | FancyRegexOptions,
    ) -> jsonschema_rs.Validator:
        return jsonschema_rs.validator_for(
            schema,
            registry=registry,
            validate_formats=False,
            offline=True,
            pattern_options=patterns,
        )


def _why(error: jsonschema_rs.ValidationError) -> str:
    """The library's words, where ours are not better."""
    if error.message.startswith("Unknown meta-schema"):
        return (
            "$schema names a dialect that is not known: leave it out for draft 2020-12, or name "
            "draft 4, 6, 7 or 2019-09"
        )
    if (
        error.schema_path
        and error.schema_path[-1] == "anyOf"
        and error.instance_path[-1:] == ["type"]
    ):
        return (
            f"no type (string, number, integer, boolean, array, object, null): {error.instance!r}"
        )
    if error.message.endswith('is not a "regex"'):
        return f"no regular expression, or too large a one: {error.instance!r}"
    return error.message
