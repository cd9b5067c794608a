"""Embeddings of the stand-in."""

from __future__ import annotations

import json
from math import isclose, sqrt

import pytest

from promptyard_worker.sim.embedding import read_requests, sparse_vector, vector_json
from promptyard_worker.sim.refusal import Refusal


def _near(first: str, second: str) -> float:
    one, other = sparse_vector(first, 768), sparse_vector(second, 768)
    return sum(value * other.get(dimension, 0.0) for dimension, value in one.items())


@pytest.mark.parametrize("dimensions", [1, 64, 768, 1536, 3072])
@pytest.mark.parametrize("text", ["", "one", "Some words, and some more words.", "词 слово"])
def test_vectors_have_length_1(text: str, dimensions: int) -> None:
    """As many numbers as asked for, of Euclidean length 1, the same each time."""
    vector = json.loads(vector_json(text, dimensions))
    assert len(vector) == dimensions
    assert isclose(sqrt(sum(value * value for value in vector)), 1.0, rel_tol=1e-5)
    assert vector_json(text, dimensions) == vector_json(text, dimensions)


def test_similar_texts_lie_near_each_other() -> None:
    """Shared words, and shared beginnings of words, bring texts together."""
    question = "How do I reset my password?"
    assert _near(question, "how do i RESET the password") > 0.7
    assert _near(question, "resetting passwords") > _near(question, "a recipe for apple pie")
    assert abs(_near(question, "Grilled cheese sandwich recipe")) < 0.25


@pytest.mark.parametrize(
    ("body", "method"),
    [
        ({}, "embedContent"),
        ({"requests": []}, "batchEmbedContents"),
        ({"requests": [{"content": {"parts": [{"text": "a"}]}}] * 101}, "batchEmbedContents"),
        ({"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 4000}, "embedContent"),
        ({"content": {"parts": [{"text": "a"}]}, "outputDimensionality": "x"}, "embedContent"),
        ({"instances": [{}]}, "predict"),
    ],
)
def test_malformed_requests_are_refused(body: dict[str, object], method: str) -> None:
    """400, as the real API."""
    with pytest.raises(Refusal) as caught:
        read_requests(body, method)
    assert caught.value.status == 400
