"""What routing reads of a job: the request, the turns before it, what else it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue

from promptyard.job import Blob, Content, Job, Part
from promptyard_worker import tokens
from promptyard_worker.routing.language import language_of
from promptyard_worker.routing.stages import Modality

if TYPE_CHECKING:
    from promptyard_worker.routing.pieces import Pieces

#: Characters of each end of a text that are searched; what is between is not.
END_CHARS: Final = 10_000
#: Between the two ends: neither a word nor a line goes on across it.
_SEAM: Final = "_\n_"
#: This many indented lines in a row that end as code does are code.
_CODE_LINES: Final = 3
_CODE_INDENTS: Final = ("    ", "\t")
_CODE_ENDINGS: Final = (";", "{", "}", "(", ")", ":", "]")
#: Read of a long system instruction, at its start and at its end.
_INSTRUCTION_END_CHARS: Final = 400
_PREFIXES: Final[dict[str, Modality]] = {"image/": "image", "audio/": "audio", "video/": "video"}


@dataclass(frozen=True)
class Reading:
    """One job, as the stages see it; what is costly is computed when first asked for."""

    #: The last user turn (may be empty: a picture alone).
    text: str
    #: The job's system instruction, which often holds the task of a bulk prompt.
    instruction: str = ""
    #: Turns before, the latest first.
    context: tuple[str, ...] = ()
    #: What the parts are, text aside.
    media: frozenset[Modality] = frozenset()
    metadata: dict[str, JsonValue] = field(default_factory=dict)
    asks_schema: bool = False
    #: Inline images of the last user turn, as they came.
    _image_blobs: tuple[Blob, ...] = ()
    #: Estimated tokens of media and of turns beyond the window.
    _other_tokens: int = 0

    @classmethod
    def of(cls, job: Job, *, context_turns: int) -> Reading:
        """Read a job.

        Args:
            job: plain text or a conversation.
            context_turns: how many turns before the last user turn count.
        """
        metadata, asks_schema = job.metadata, job.response_schema is not None
        instruction = job.system_instruction or ""
        if isinstance(job.contents, str):
            return cls(job.contents, instruction, metadata=metadata, asks_schema=asks_schema)
        last = _last_user_turn(job.contents)
        first = max(0, last - context_turns)
        window = [_text(turn) for turn in reversed(job.contents[first:last])]
        beyond = (*job.contents[:first], *job.contents[last + 1 :])
        parts = [part for turn in job.contents for part in turn.parts]
        return cls(
            text=_text(job.contents[last]),
            instruction=instruction,
            context=tuple(text for text in window if text),
            media=frozenset(kind for part in parts if (kind := _modality(part))),
            metadata=metadata,
            asks_schema=asks_schema,
            _image_blobs=tuple(_image_blobs(job.contents[last].parts)),
            _other_tokens=sum(map(_other_tokens, parts))
            + sum(tokens.count(_text(turn)) for turn in beyond),
        )

    @cached_property
    def request(self) -> str:
        """What is asked, the part that says most first: instruction, last turn, turns before."""
        parts = (_clipped(self.instruction), self.text, *self.context)
        return "\n\n".join(part for part in parts if part)

    @cached_property
    def pieces(self) -> Pieces:
        """The word pieces of the request."""
        return pieces_of([self])[0]

    @cached_property
    def images(self) -> tuple[bytes, ...]:
        """Inline images of the last user turn, for encoders that embed them."""
        images = (tokens.decoded(blob.data) for blob in self._image_blobs)
        return tuple(image for image in images if image)

    @cached_property
    def has_code(self) -> bool:
        """Whether the last user turn holds code: fenced, or some indented lines of it."""
        lines = 0
        for line in ends_of(self.text).split("\n"):
            if "```" in line or line.lstrip(" ").startswith("~~~"):
                return True
            line = line.rstrip()
            if line.startswith(_CODE_INDENTS) and line.endswith(_CODE_ENDINGS):
                lines += 1
                if lines == _CODE_LINES:
                    return True
            elif line:
                lines = 0
        return False

    @cached_property
    def has(self) -> frozenset[Modality]:
        """The modalities of the parts, and ``code`` where the text has some."""
        return self.media | {"code"} if self.has_code else self.media

    @cached_property
    def language(self) -> str | None:
        """ISO 639-1 code of the last user turn's language, else of the instruction's."""
        return language_of(self.text) or language_of(self.instruction)

    @cached_property
    def token_count(self) -> int:
        """Estimated tokens of the whole prompt."""
        texts = (self.instruction, self.text, *self.context)
        return sum(map(tokens.count, texts)) + self._other_tokens


def pieces_of(readings: Sequence[Reading]) -> list[Pieces]:
    """The word pieces of each request; to read many at once is quicker."""
    from promptyard_worker.routing.pieces import embedded_reader

    unread = [reading for reading in readings if "pieces" not in vars(reading)]
    if unread:
        read = embedded_reader().read([reading.request for reading in unread])
        for reading, pieces in zip(unread, read, strict=True):
            vars(reading)["pieces"] = pieces  # where cached_property looks
    return [reading.pieces for reading in readings]


def ends_of(text: str) -> str:
    """The text, or of a very long one its two ends: the ask stands first or last."""
    if len(text) <= 2 * END_CHARS:
        return text
    return f"{text[:END_CHARS]}{_SEAM}{text[-END_CHARS:]}"


def _clipped(instruction: str) -> str:
    """A long instruction's two ends: behind all of it the prompt would not be read at all."""
    if len(instruction) <= 2 * _INSTRUCTION_END_CHARS:
        return instruction
    return f"{instruction[:_INSTRUCTION_END_CHARS]}\n{instruction[-_INSTRUCTION_END_CHARS:]}"


def _last_user_turn(contents: tuple[Content, ...]) -> int:
    turns = [i for i, turn in enumerate(contents) if turn.role == "user"]
    return turns[-1] if turns else len(contents) - 1


def _text(turn: Content) -> str:
    return "\n".join(part.text for part in turn.parts if part.text)


def _modality(part: Part) -> Modality | None:
    """What a part without text is; a file of unknown or other type is a ``file``."""
    source = part.inline_data or part.file_data
    if source is None:
        return None
    mime = (source.mime_type or "").lower()
    return next((kind for prefix, kind in _PREFIXES.items() if mime.startswith(prefix)), "file")


def _image_blobs(parts: tuple[Part, ...]) -> list[Blob]:
    blobs = (part.inline_data for part in parts)
    return [blob for blob in blobs if blob and blob.mime_type.lower().startswith("image/")]


def _other_tokens(part: Part) -> int:
    """Estimated tokens of what is no text: media, calls of functions and their answers."""
    if part.inline_data is not None:
        return tokens.count_inline(part.inline_data.mime_type, part.inline_data.data)
    if part.file_data is not None:
        return tokens.count_media(part.file_data.mime_type or "image/", 1)
    return tokens.count(str(part.model_extra)) if part.model_extra and not part.text else 0
