"""Deterministic embeddings: texts that share words lie near each other.

Each word, and its first letters, adds to a few dimensions chosen by a hash; the sum is
scaled to length 1. Most dimensions are 0. It knows no synonyms: it is for rehearsing the
plumbing, not for judging a router.
"""

from __future__ import annotations

from math import sqrt
from typing import Any, Final
from zlib import crc32

from promptyard_worker import tokens
from promptyard_worker.sim.profile import ModelProfile
from promptyard_worker.sim.prompt import read_contents
from promptyard_worker.sim.refusal import JsonObject, invalid

#: Dimensions of gemini-embedding-001 unless ``outputDimensionality`` says otherwise.
DEFAULT_DIMENSIONS: Final = 3_072
#: Most requests of one batchEmbedContents.
MOST_REQUESTS: Final = 100

_ZEROS: Final = "0," * DEFAULT_DIMENSIONS
#: One odd factor for each dimension that a feature adds to.
_FACTORS: Final = (0x9E3779B1, 0x85EBCA6B)
_STEM_CHARS: Final = 4
_STEM_WEIGHT: Final = 0.5


def read_requests(body: JsonObject, method: str) -> tuple[list[str], list[int]]:
    """The texts of an embedding request, and the dimensions wanted of each.

    Raises:
        Refusal: 400 as the real API gives it.
    """
    if method == "predict":
        return _read_instances(body)
    if method == "embedContent":
        requests: Any = [body]
    else:
        requests = body.get("requests")
        if not isinstance(requests, list) or not requests:
            raise invalid("* BatchEmbedContentsRequest.requests: requests is not specified\n")
        if len(requests) > MOST_REQUESTS:
            raise invalid(
                "* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch\n"
            )
    texts, dimensions = [], []
    for request in requests:
        if not isinstance(request, dict):
            raise invalid("Invalid value at 'requests' (EmbedContentRequest).")
        path = "EmbedContentRequest.content"
        texts.append(read_contents(request.get("content"), path, "content")[0])
        config = request.get("embedContentConfig") or request
        wanted = config.get("outputDimensionality") or config.get("output_dimensionality")
        dimensions.append(_dimensions(wanted))
    return texts, dimensions


def vector_json(text: str, dimensions: int) -> str:
    """The embedding of a text as a JSON array.

    Written as text at once, with the runs of zeros cut from a string: most of the 3,072
    numbers are 0, and ``json.dumps`` would take twenty times as long.
    """
    pieces, at = ["["], 0
    for dimension, value in sorted(sparse_vector(text, dimensions).items()):
        pieces.append(_ZEROS[: 2 * (dimension - at)])
        pieces.append(f"{value:.7g},")
        at = dimension + 1
    pieces.append(_ZEROS[: 2 * (dimensions - at)])
    return "".join(pieces)[:-1] + "]"


def sparse_vector(text: str, dimensions: int) -> dict[int, float]:
    """The dimensions of a text's embedding that are not 0; their squares add up to 1."""
    vector: dict[int, float] = {}
    for word in text.lower().split():
        bare = word.strip(".,;:!?\"'()[]{}")
        _add(vector, bare or word, 1.0, dimensions)
        if len(bare) > _STEM_CHARS:
            _add(vector, bare[:_STEM_CHARS] + "*", _STEM_WEIGHT, dimensions)
    length = sqrt(sum(value * value for value in vector.values()))
    if length == 0.0:
        return {0: 1.0}
    return {dimension: value / length for dimension, value in vector.items() if value}


def count_tokens(profile: ModelProfile, texts: list[str]) -> list[int]:
    """Tokens of each text; like the real models, the rest of a long one is left out."""
    return [min(tokens.count(text), profile.input_token_limit) for text in texts]


def embed_body(method: str, texts: list[str], dimensions: list[int], counts: list[int]) -> str:
    """The answer to an embedding request, as JSON text."""
    vectors = [vector_json(text, wanted) for text, wanted in zip(texts, dimensions, strict=True)]
    usage = f'"usageMetadata":{{"promptTokenCount":{sum(counts)}}}'
    if method == "embedContent":
        return f'{{"embedding":{{"values":{vectors[0]}}},{usage}}}'
    if method == "batchEmbedContents":
        values = ",".join([f'{{"values":{vector}}}' for vector in vectors])
        return f'{{"embeddings":[{values}],{usage}}}'
    predictions = [
        f'{{"embeddings":{{"values":{vector},'
        f'"statistics":{{"token_count":{count},"truncated":false}}}}}}'
        for vector, count in zip(vectors, counts, strict=True)
    ]
    return f'{{"predictions":[{",".join(predictions)}]}}'


def _add(vector: dict[int, float], feature: str, weight: float, dimensions: int) -> None:
    hashed = crc32(feature.encode("utf-8", "surrogatepass"))
    for factor in _FACTORS:
        mixed = (hashed * factor) & 0xFFFFFFFF
        dimension = (mixed >> 8) % dimensions
        signed = weight if mixed & 0x80 else -weight
        vector[dimension] = vector.get(dimension, 0.0) + signed


def _read_instances(body: JsonObject) -> tuple[list[str], list[int]]:
    """Vertex's form: ``{"instances": [{"content": ...}], "parameters": {...}}``."""
    instances = body.get("instances")
    if not isinstance(instances, list) or not instances:
        raise invalid("* PredictRequest.instances: instances is not specified\n")
    texts = []
    for instance in instances:
        content = instance.get("content") if isinstance(instance, dict) else None
        if not isinstance(content, str):
            raise invalid("* PredictRequest.instances: content is not specified\n")
        texts.append(content)
    wanted = _dimensions((body.get("parameters") or {}).get("outputDimensionality"))
    return texts, [wanted] * len(texts)


def _dimensions(wanted: Any) -> int:
    try:
        dimensions = DEFAULT_DIMENSIONS if wanted is None else int(wanted)
    except (TypeError, ValueError):
        raise invalid("Invalid value at 'output_dimensionality' (TYPE_INT32).") from None
    if not 1 <= dimensions <= DEFAULT_DIMENSIONS:
        raise invalid(
            "* EmbedContentRequest.output_dimensionality: output_dimensionality must be in the "
            f"range [1, {DEFAULT_DIMENSIONS}].\n"
        )
    return dimensions
