"""build_embedder: which encoder router.yaml names, and what becomes of a reading."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from semantic_router.encoders.base import AsymmetricDenseMixin, DenseEncoder

from promptyard.catalog import Price
from promptyard.errors import RouterFileError
from promptyard.job import Job
from promptyard.names import Tier
from promptyard_worker.routing.config import RouteConfig, RouterConfig
from promptyard_worker.routing.embedding import ReadingEmbedder, build_embedder
from promptyard_worker.routing.encoders.static import StaticEncoder
from promptyard_worker.routing.execution import ModelConfig
from promptyard_worker.routing.reading import Reading
from promptyard_worker.routing.services import Services
from promptyard_worker.routing.stages import EncoderConfig


class Letters(DenseEncoder):
    """Counts three letters; takes what the configuration gives it."""

    name: str = "abc"
    type: str = "letters"
    letters: str = "abc"
    #: What was asked, over all encoders of the class.
    asked: ClassVar[list[list[Any]]] = []

    def __call__(self, docs: list[Any]) -> list[list[float]]:
        """One row a text."""
        self.asked.append(docs)
        return [[float(doc.count(letter)) for letter in self.letters] for doc in docs]


class Seeing(Letters):
    """Embeds a picture by the mean of its colours."""

    embeds_images: ClassVar[bool] = True

    def __call__(self, docs: list[Any]) -> list[list[float]]:
        """One row a text or picture."""
        if isinstance(docs[0], str):
            return super().__call__(docs)
        self.asked.append(docs)
        return [np.asarray(doc).mean(axis=(0, 1)).tolist() for doc in docs]


class TwoSided(Letters, AsymmetricDenseMixin):
    """Embeds prompts and example prompts differently, as vendors' retrieval models do."""

    def encode_queries(self, docs: list[str]) -> list[list[float]]:
        """The first dimension."""
        return [[1.0, 0.0] for _ in docs]

    def encode_documents(self, docs: list[str]) -> list[list[float]]:
        """The second dimension."""
        return [[0.0, 1.0] for _ in docs]


class Strange(Letters):
    """Gives no numbers for a text that says so."""

    def __call__(self, docs: list[Any]) -> list[list[float]]:
        """One row a text."""
        return [[float("nan"), 1.0] if doc == "nan" else [3.0, 4.0] for doc in docs]


@pytest.fixture(autouse=True)
def _forget() -> None:
    Letters.asked.clear()


def embedder(services: Services | None = None, **encoder: Any) -> ReadingEmbedder:
    """The embedder of a policy with this encoder."""
    price = Price(input=1, output=2)
    config = RouterConfig(
        version=1,
        encoder=EncoderConfig(**encoder),
        default=Tier.LITE,
        routes=(RouteConfig(name="r", tier=Tier.LITE, model="m", utterances=("a",)),),
        models={"m": ModelConfig(tier=Tier.LITE, price=price, context_window=9, timeout_s=1)},
    )
    return build_embedder(config, services or Services())


def complaint(**encoder: Any) -> str:
    """What is said of an encoder that cannot be built."""
    with pytest.raises(RouterFileError) as caught:
        embedder(**encoder)
    return str(caught.value)


def own(name: str) -> str:
    """A class of this module, as ``module:Class``."""
    return f"{__name__}:{name}"


def reading(text: str, *images: bytes) -> Reading:
    """What routing sees of a job with a text and images; neither must be there."""
    parts: list[Any] = [{"text": text}] if text else []
    blobs = [{"mimeType": "image/png", "data": base64.b64encode(one).decode()} for one in images]
    parts = [*parts, *({"inlineData": blob} for blob in blobs)] or [{"text": ""}]
    return Reading.of(Job.model_validate({"contents": [{"parts": parts}]}), context_turns=0)


def picture(colour: tuple[int, int, int], kind: str = "PNG", side: int = 8) -> bytes:
    """An image file of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, kind)
    return file.getvalue()


def test_the_static_encoder_is_the_default(tmp_path: Path) -> None:
    """It needs no disk cache: it embeds quicker than a file is read."""
    made = embedder(Services(cache_folder=tmp_path))
    assert isinstance(made.encoder, StaticEncoder)
    assert made.embed_utterances(["Hello."]).shape == (1, 256)
    assert list(tmp_path.iterdir()) == []


def test_a_class_by_module_and_name() -> None:
    """With its name and options as constructor arguments; rows have length 1."""
    made = embedder(type=own("Letters"), name="mine", options={"letters": "xyz"})
    assert made.encoder.name == "mine"
    half = 0.5**0.5
    assert np.allclose(made.embed_texts(["xxyy", "z"]), [[half, half, 0.0], [0.0, 0.0, 1.0]])


def test_a_class_of_the_library_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vendor's encoder is built; its key comes from where it always comes from."""
    monkeypatch.setenv("COHERE_API_KEY", "k")
    assert embedder(type="CohereEncoder", name="embed-v4").encoder.name == "embed-v4"
    monkeypatch.delenv("COHERE_API_KEY")
    assert "COHERE_API_KEY" in complaint(type="CohereEncoder")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fastembed", "pip install fastembed"),
        ("no_such_library:Encoder", "pip install no-such-library"),
        (own("Missing"), "has no class 'Missing'"),
        ("Nonsense", "has no class 'Nonsense'"),
        ("BM25Encoder", "sparse: bm25"),
        (f"{__name__}:Image", "has no class"),
        ("pathlib:Path", "is no encoder"),
        ("antigravity_:", "pip install"),
    ],
)
def test_what_is_not_there_is_said_with_what_to_do(name: str, words: str) -> None:
    """A module, a class, or what only looks like an encoder."""
    assert words in complaint(type=name)


def test_options_that_do_not_fit_are_named_without_their_values() -> None:
    """They may hold a key."""
    said = complaint(type=own("Letters"), options={"letters": ["secret"]})
    assert "letters: Input should be a valid string" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    "wrong",
    [
        {"task_type": "CLASSIFICATION"},
        {"type": "static", "name": "minilm"},
        {"type": "gemini", "options": {"a": 1}},
        {"type": "CLIPEncoder", "texts_per_minute": 5},
    ],
)
def test_a_key_that_the_encoder_does_not_read_is_refused(wrong: dict[str, Any]) -> None:
    """It would do nothing, and its author would think that it does."""
    with pytest.raises(ValidationError, match="does not read"):
        EncoderConfig(**wrong)


def test_gemini_without_a_client_says_what_to_do() -> None:
    """No key: at the start, not at the first prompt."""
    assert "GEMINI_API_KEY" in complaint(type="gemini")


def test_a_blank_text_is_zero_and_never_sent() -> None:
    """Vendors refuse it, with the whole chunk."""
    made = embedder(type=own("Letters"))
    vectors = made.embed_texts(["a", "", " \n", "b"])
    assert Letters.asked[-1] == ["a", "b"]
    assert vectors.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 1, 0]]
    Letters.asked.clear()
    assert made.embed_texts([" "]).tolist() == [[0, 0, 0]]
    assert made.embed_texts([]).shape == (0, 3)
    assert Letters.asked == []


def test_only_blank_texts_have_the_encoders_length() -> None:
    """One probe tells it where nothing else has."""
    assert embedder(type=own("Letters")).embed_texts([""]).shape == (1, 3)


def test_a_text_is_cleaned_and_bounded() -> None:
    """A lone surrogate would fail the chunk; a prompt of 1 MB would stall it."""
    embedder(type=own("Letters")).embed_texts(["a\ud800", "b" * 1_000_000])
    first, second = Letters.asked[-1]
    assert first == "a?"
    assert len(second) == 20_000


def test_utterances_are_documents_to_encoders_that_tell_the_two_apart() -> None:
    """As semantic-router's own router does it."""
    made = embedder(type=own("TwoSided"))
    assert made.embed_texts(["q"]).tolist() == [[1, 0]]
    assert made.embed_utterances(["d"]).tolist() == [[0, 1]]


def test_a_row_that_is_no_number_is_zero() -> None:
    """NaN would win every comparison or none."""
    made = embedder(type=own("Strange"))
    assert np.allclose(made.embed_texts(["nan", "x"]), [[0.0, 0.0], [0.6, 0.8]])


def test_utterances_are_kept_on_disk(tmp_path: Path) -> None:
    """By encoder, its name and its options; prompts are not kept."""
    services = Services(cache_folder=tmp_path)
    embedder(services, type=own("Letters")).embed_utterances(["a", "b"])
    embedder(services, type=own("Letters")).embed_utterances(["b", "a", "c"])
    assert Letters.asked == [["a", "b"], ["c"]]
    embedder(services, type=own("Letters"), options={"letters": "ab"}).embed_utterances(["a"])
    assert Letters.asked[2:] == [["a"]]


def test_the_librarys_interface_gives_lists() -> None:
    """What semantic-router's routers call."""
    made = embedder(type=own("TwoSided"))
    assert made.encoder(["q"]) == [[1.0, 0.0]]
    assert made.encoder.encode_documents(["d"]) == [[0.0, 1.0]]


def test_text_and_images_count_half_each() -> None:
    """Images alone where there is no text; more images weigh no more than one."""
    made = embedder(type=own("Seeing"))
    blue = picture((0, 0, 255))
    readings = [
        reading("aa"),
        reading("aa", blue),
        reading("", blue),
        reading("aa", blue, blue, blue),
        reading("", picture((255, 0, 0)), picture((0, 255, 0), "JPEG")),
    ]
    half = 0.5**0.5
    mixed = (half, 0.0, half)
    expected = np.array([(1, 0, 0), mixed, (0, 0, 1), mixed, (half, half, 0)])
    assert np.allclose(made.embed(readings), expected, atol=0.02)


def test_an_image_that_cannot_be_read_is_left_out() -> None:
    """No file, a cut one, one of too many pixels: the text alone, or zero."""
    made = embedder(type=own("Seeing"))
    huge = io.BytesIO()
    Image.new("1", (8000, 8000)).save(huge, "PNG")
    bad = (b"no image", picture((0, 0, 255), side=64)[:60], huge.getvalue())
    assert made.embed([reading("b", *bad)]).tolist() == [[0, 1, 0]]
    assert made.embed([reading("", *bad)]).tolist() == [[0, 0, 0]]


def test_large_images_are_scaled_before_they_are_embedded() -> None:
    """Memory is bounded whatever arrives."""
    made = embedder(type=own("Seeing"))
    made.embed([reading("", picture((9, 9, 9), "JPEG", 3000))])
    assert max(Letters.asked[-1][0].size) <= 1024


def test_a_text_only_encoder_ignores_images() -> None:
    """The static one, for one; nothing to embed is zero."""
    made = embedder()
    vectors = made.embed([reading("Hi.", b"x"), reading("", b"x")])
    assert np.array_equal(vectors[:1], made.embed_texts(["Hi."]))
    assert not vectors[1].any()
