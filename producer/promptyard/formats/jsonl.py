"""JSONL: one job, or one result, a line.

An input line is an object with a ``prompt`` (a text) or ``contents`` (as in Job), and
any other field of Job. What names it:

- ``custom_id`` comes back on the result; a whole number is taken as text.
- ``id`` is taken for the ``custom_id`` if the line has none. It never becomes the id of
  the job: those are global in the store, and a file shall not reach into other batches.
- Without either, the line's number is the ``custom_id``.

The job's id is made from the batch and the ``custom_id``, or the line number where none
was given. So the same file submitted again is the same jobs, and a repeated ``custom_id``
meets the first one's id in the store, which tells: no set of ids is kept here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Final

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json

from promptyard.job import ErrorType, Job, JobError, JobResult, JobState

#: Longest line in bytes: Gemini takes 20 MB of inline data, a third more as base64.
MAX_LINE_BYTES: Final = 64 << 20
_BOM: Final = b"\xef\xbb\xbf"
_UTF16_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")
#: Ours to set, whatever a line that was a Job says.
_OWN_FIELDS: Final = ("id", "line")


class BadLine(BaseModel):
    """A line that is no job."""

    model_config = ConfigDict(frozen=True)

    #: Counted from 1.
    line: int
    #: As given, else the line's number.
    custom_id: str
    #: What is wrong; holds nothing of the prompt.
    message: str

    def as_result(self, batch_id: str | None = None) -> JobResult:
        """The line's place in the output: a failed job that was never submitted."""
        return JobResult(
            id=_job_id(batch_id or "", "bad", str(self.line)),
            custom_id=self.custom_id,
            batch_id=batch_id,
            line=self.line,
            status=JobState.FAILED,
            error=JobError(
                type=ErrorType.INVALID_INPUT, message=f"line {self.line}: {self.message}"
            ),
        )

    @classmethod
    def of_duplicate(cls, job: Job, first_line: int | None) -> BadLine:
        """A job whose ``custom_id`` another line has."""
        where = f"line {first_line}" if first_line else "another job"
        return cls(
            line=job.line or 0,
            custom_id=job.custom_id or "",
            message=f"repeats the custom_id {job.custom_id!r} of {where}; give it one of its own",
        )


class _LineError(Exception):
    """What is wrong with a line."""


def read_jobs(source: Path | BinaryIO, *, batch_id: str) -> Iterator[Job | BadLine]:
    """Read jobs one by one, in constant memory; a bad line is yielded in its place.

    Blank lines are skipped (and counted, so that line numbers are the file's). A byte
    order mark and CRLF are fine.
    """
    opened = source.open("rb") if isinstance(source, Path) else nullcontext(source)
    with opened as file:
        for number, raw in enumerate(_lines(file), start=1):
            line = raw.removeprefix(_BOM) if raw and number == 1 else raw
            if line is None or line.strip():
                yield _read_line(line, number, batch_id)


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Lines of the file; None for one that is too long."""
    while raw := file.readline(MAX_LINE_BYTES):
        if len(raw) < MAX_LINE_BYTES or raw.endswith(b"\n"):
            yield raw
            continue
        while raw and not raw.endswith(b"\n"):
            raw = file.readline(MAX_LINE_BYTES)
        yield None


def _read_line(raw: bytes | None, number: int, batch_id: str) -> Job | BadLine:
    custom_id: str | None = None
    try:
        fields = _parse(raw)
        custom_id = _custom_id(fields)
        return _job(fields, custom_id, number, batch_id)
    except _LineError as error:
        return BadLine(line=number, custom_id=custom_id or str(number), message=str(error))


def _parse(raw: bytes | None) -> dict[str, Any]:
    if raw is None:
        raise _LineError(f"longer than {MAX_LINE_BYTES >> 20} MiB; put large data in a file part")
    if raw.startswith(_UTF16_BOMS):
        raise _LineError("the file is UTF-16; convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)")
    try:
        fields = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise _LineError(f"not JSON ({error}); write one object a line") from None
    if not isinstance(fields, dict):
        raise _LineError('not an object; write {"prompt": "..."}')
    return fields


def _custom_id(fields: dict[str, Any]) -> str | None:
    given = fields.pop("custom_id", None)
    own = fields.get("id")
    name = own if given is None or given == "" else given
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if name is None or name == "":
        return None
    if not isinstance(name, str):
        raise _LineError("custom_id is neither text nor a whole number")
    return name


def _job(fields: dict[str, Any], custom_id: str | None, number: int, batch_id: str) -> Job:
    for name in _OWN_FIELDS:
        fields.pop(name, None)
    if "prompt" in fields:
        if "contents" in fields:
            raise _LineError("both prompt and contents are given; keep one")
        fields["contents"] = fields.pop("prompt")
        if not isinstance(fields["contents"], str):
            raise _LineError("prompt is not a text; for turns and parts use contents")
    if not fields.get("contents"):
        raise _LineError('no prompt; write {"prompt": "..."}')
    kind, name = ("line", str(number)) if custom_id is None else ("id", custom_id)
    try:
        return Job.model_validate(
            {
                **fields,
                "id": _job_id(batch_id, kind, name),
                "custom_id": str(number) if custom_id is None else custom_id,
                "line": number,
            }
        )
    except ValidationError as error:
        raise _LineError(_explain(error)) from None


def _explain(error: ValidationError) -> str:
    """The first thing wrong, without the input (which may hold the prompt)."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown field {where!r}; put fields of your own under metadata"
    return f"{where}: {first['msg']}"


def _job_id(batch_id: str, kind: str, name: str) -> str:
    """A job's id, as 32 hex digits; NUL keeps the three parts apart."""
    text = "\0".join((batch_id, kind, name))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
