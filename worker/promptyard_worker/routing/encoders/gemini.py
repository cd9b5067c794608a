"""Gemini's embedding models, by google-genai's ``embed_content``.

``encode -> look up -> batch -> call patiently -> call``: a text that was embedded lately
costs nothing, 100 texts go in one call, and a call that fails in passing is repeated as long
as there is patience. The SDK's own retries are off: ours honour RetryInfo and the pace.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from google import genai
from google.genai import types
from pydantic import PrivateAttr

from promptyard.errors import EmbeddingError, EmbeddingRefused, RouterFileError
from promptyard_worker.routing.cache import Key, RecentVectors, Rows, key_of
from promptyard_worker.routing.encoders.base import ArrayEncoder, Vectors, normalised, readable
from promptyard_worker.routing.encoders.failure import Failure, read_failure
from promptyard_worker.routing.encoders.patience import Pace, Patience, Timing, delay_s, pace_of

DEFAULT_MODEL: Final = "gemini-embedding-001"
#: Most texts of one call; the API's limit.
MOST_TEXTS: Final = 100
#: Most images of one call; the limit of gemini-embedding-2.
MOST_IMAGES: Final = 6
#: Most bytes of one call: 20 MB are allowed, and images grow by a third on their way.
MOST_BYTES: Final = 14_000_000
#: Only the beginning of a text is sent, about 5,000 tokens (gemini-embedding-001 reads
#: 2,048): 100 texts stay below the 20 MB of a request in any script.
HEAD_CHARS: Final = 20_000
#: One call, in seconds; the server is told the same.
TIMEOUT_S: Final = 30.0
MAX_ATTEMPTS: Final = 5
#: How long 100 prompts may take, repeats and waits included: a chunk is better put back.
PATIENCE_S: Final = 30.0
#: How long 100 utterances may: the quota of a minute must come round once.
START_PATIENCE_S: Final = 90.0
#: Vectors of prompts kept in memory: 5,400 of 3,072 dimensions, 21,800 of 768.
RECENT_BYTES: Final = 64 * 2**20

#: gemini-embedding-2 knows no ``task_type``; it reads the task before the text
#: (https://ai.google.dev/gemini-api/docs/embeddings).
_TASK_WORDS: Final = {
    "CLASSIFICATION": "classification",
    "CLUSTERING": "clustering",
    "SEMANTIC_SIMILARITY": "sentence similarity",
}
_TEXT_ONLY: Final = ("gemini-embedding-001", "gemini-embedding-exp")
_MAGIC: Final = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}

log = logging.getLogger(__name__)


class GeminiEncoder(ArrayEncoder):
    """A semantic-router encoder over one of Gemini's embedding models."""

    name: str = DEFAULT_MODEL
    type: str = "gemini"
    _client: genai.Client = PrivateAttr()
    _config: types.EmbedContentConfig = PrivateAttr()
    _prefix: str = PrivateAttr()
    _identity: str = PrivateAttr()
    _pace: Pace | None = PrivateAttr()
    _timing: Timing = PrivateAttr()
    _recent: RecentVectors = PrivateAttr()

    def __init__(
        self,
        client: genai.Client,
        *,
        name: str = DEFAULT_MODEL,
        dimensions: int | None = None,
        task_type: str | None = None,
        texts_per_minute: int | None = None,
        timing: Timing | None = None,
    ) -> None:
        """Prepare; nothing is called yet.

        Args:
            client: its own retries are off.
            name: the embedding model.
            dimensions: length of a vector; None: the model's own.
            task_type: what the embeddings are for, in Gemini's words.
            texts_per_minute: most texts that all encoders of this model and process send.
            timing: clock and sleep.

        Raises:
            RouterFileError: the model does not know the task.
        """
        super().__init__(name=name, type="gemini")
        self._client = client
        self._timing = timing or Timing()
        self._pace = pace_of(name, texts_per_minute, self._timing) if texts_per_minute else None
        self._recent = RecentVectors(RECENT_BYTES)
        self._prefix = _task_prefix(task_type) if task_type and self.embeds_images else ""
        self._identity = f"gemini {name} {dimensions} {task_type} {_address(client)}"
        self._config = types.EmbedContentConfig(
            task_type=None if self._prefix else task_type,
            output_dimensionality=dimensions,
            # The Gemini API cuts long texts unasked, and the SDK refuses to ask it.
            auto_truncate=True if client.vertexai else None,
            http_options=types.HttpOptions(timeout=round(TIMEOUT_S * 1000)),
        )

    @property
    def embeds_images(self) -> bool:
        """Whether the model does: gemini-embedding-2 and later."""
        model = self.name.rsplit("/", 1)[-1]
        return model.startswith("gemini-") and not model.startswith(_TEXT_ONLY)

    @property
    def identity(self) -> str:
        """Model, dimensions, task and address: the stand-in's vectors are not Google's."""
        return self._identity

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One row a text.

        Raises:
            EmbeddingError: not now; says why and what to do.
            EmbeddingRefused: the server takes one of the texts at no time.
        """
        return self._encode_texts(texts, PATIENCE_S)

    def encode_utterances(self, texts: Sequence[str]) -> Vectors:
        """As ``encode``, but rather waits than fails."""
        return self._encode_texts(texts, START_PATIENCE_S)

    def encode_images(self, images: Sequence[bytes]) -> Vectors:
        """One row an image; zero for one that is no PNG or JPEG, or that the server refuses.

        Raises:
            EmbeddingError: not now; says why and what to do.
        """
        keys = [key_of(image) for image in images]
        rows = self._recent.get(keys)
        missing = {
            key: types.Part.from_bytes(data=image, mime_type=mime_type)
            for key, image in zip(keys, images, strict=True)
            if key not in rows and (mime_type := _mime_type(image))
        }
        for part in self._batches(missing, MOST_IMAGES):
            rows |= self._embed_images(part)
        return _stacked(rows, keys)

    def _encode_texts(self, texts: Sequence[str], patience_s: float) -> Vectors:
        texts = [self._prefix + readable(text, HEAD_CHARS) for text in texts]
        keys = [key_of(text) for text in texts]
        rows = self._recent.get(keys)
        missing = {
            key: types.Part(text=text)
            for key, text in zip(keys, texts, strict=True)
            if key not in rows
        }
        for part in self._batches(missing, MOST_TEXTS):
            rows |= self._embed(part, patience_s)
        return _stacked(rows, keys)

    def _batches(self, parts: dict[Key, types.Part], most: int) -> Iterator[dict[Key, types.Part]]:
        """What goes in one call each."""
        most = min(most, self._pace.per_minute) if self._pace else most
        batch: dict[Key, types.Part] = {}
        left_bytes = MOST_BYTES
        for key, part in parts.items():
            size = _size(part)
            if batch and (len(batch) == most or size > left_bytes):
                yield batch
                batch, left_bytes = {}, MOST_BYTES
            batch[key] = part
            left_bytes -= size
        if batch:
            yield batch

    def _embed_images(self, images: dict[Key, types.Part]) -> Rows:
        """One call; if it is refused, each image alone, so that a bad one hurts itself only."""
        try:
            return self._embed(images, PATIENCE_S)
        except EmbeddingRefused as error:
            if len(images) > 1:
                alone = [self._embed_images({key: images[key]}) for key in images]
                return {key: row for rows in alone for key, row in rows.items()}
            log.warning("An image is left out: %s", error, extra={"event": "image_refused"})
            return {}

    def _embed(self, parts: dict[Key, types.Part], patience_s: float) -> Rows:
        """Embed what is not known, and know it from now on."""
        # Contents, not parts: of a list of parts gemini-embedding-2 gives one vector.
        contents = [types.Content(parts=[part], role="user") for part in parts.values()]
        patience = Patience(patience_s, self._timing)
        rows = dict(zip(parts, self._call_patiently(contents, patience), strict=True))
        self._recent.put(rows)
        return rows

    def _call_patiently(self, contents: list[types.Content], patience: Patience) -> Vectors:
        """Call until it works, or until attempts or patience are at an end."""
        attempt = 0
        while True:
            attempt += 1
            self._keep_pace(len(contents), patience)
            try:
                return self._call(contents)
            except Exception as error:
                failure = read_failure(error)
                if failure is None:
                    raise
                lasts = failure.retryable and attempt < MAX_ATTEMPTS
                if not lasts or not patience.wait(delay_s(attempt, failure.retry_after_s)):
                    raise self._error(failure, len(contents), attempt) from error

    def _keep_pace(self, texts: int, patience: Patience) -> None:
        while self._pace and (wait_s := self._pace.take(texts)):
            if not patience.wait(wait_s):
                raise EmbeddingError(
                    f"encoder.texts_per_minute ({self._pace.per_minute}) is used up for the "
                    f"next {wait_s:.0f} s. The prompts wait and are routed later; raise it if "
                    f"the quota of {self.name} allows."
                )

    def _error(self, failure: Failure, count: int, attempt: int) -> Exception:
        message = (
            f"{self.name} could not embed {count} texts or images: {failure.message} "
            f"(attempt {attempt}). {failure.remedy}"
        )
        return EmbeddingRefused(message) if failure.refused else EmbeddingError(message)

    def _call(self, contents: list[types.Content]) -> Vectors:
        """One HTTP request."""
        response = self._client.models.embed_content(
            model=self.name, contents=list(contents), config=self._config
        )
        rows = [embedding.values or [] for embedding in response.embeddings or []]
        if len(rows) != len(contents) or len({len(row) for row in rows}) != 1:
            raise EmbeddingError(
                f"{self.name} gave {len(rows)} vectors for {len(contents)} texts or images. "
                f"Check encoder.name: it must be an embedding model."
            )
        return normalised(np.asarray(rows, dtype=np.float32))


def _stacked(rows: Rows, keys: Sequence[Key]) -> Vectors:
    """The rows in order; zero for a key without one."""
    size = next((row.size for row in rows.values()), 0)
    vectors = np.zeros((len(keys), size), dtype=np.float32)
    for place, key in enumerate(keys):
        if key in rows:
            vectors[place] = rows[key]
    return vectors


def _task_prefix(task_type: str) -> str:
    words = _TASK_WORDS.get(task_type)
    if words is None:
        raise RouterFileError(
            f"encoder.task_type: this model does not know the task {task_type!r}. "
            f"Use one of {', '.join(_TASK_WORDS)}, or remove the key."
        )
    return f"task: {words} | query: "


def _mime_type(image: bytes) -> str | None:
    """Its type by its first bytes; None if the models do not read it, or it is too large."""
    if len(image) > MOST_BYTES:
        return None
    return next((kind for magic, kind in _MAGIC.items() if image.startswith(magic)), None)


def _size(part: types.Part) -> int:
    """Bytes on the wire, about."""
    data = part.inline_data.data if part.inline_data else None
    return len(data or b"") + len(part.text or "")


def _address(client: genai.Client) -> str:
    """Where the client calls; it has no public name for that."""
    return str(client._api_client._http_options.base_url)
