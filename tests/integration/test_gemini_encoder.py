"""GeminiEncoder over real HTTP: google-genai's own client against the stand-in."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google import genai
from google.genai import types

from promptyard.errors import EmbeddingError, EmbeddingRefused, RouterFileError
from promptyard.job import Job
from promptyard_worker.routing.cache import UtteranceCache
from promptyard_worker.routing.embedding import ReadingEmbedder
from promptyard_worker.routing.encoders.gemini import GeminiEncoder
from promptyard_worker.routing.encoders.patience import Timing
from promptyard_worker.routing.reading import Reading
from promptyard_worker.sim.fault import Fault
from tests.integration.embedding_bench import Bench, Watch

MODEL = "gemini-embedding-001"
SEEING = "gemini-embedding-2"
TEXTS = [f"prompt number {n}" for n in range(250)]
PNG = b"\x89PNG\r\n\x1a\n and some pixels"


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A stand-in that does what it is asked."""
    with Bench() as made:
        yield made


def seen(text: str, *images: bytes) -> Reading:
    """What routing sees of a job with images."""
    blobs = [{"mimeType": "image/png", "data": base64.b64encode(one).decode()} for one in images]
    parts = [{"text": text}, *({"inlineData": blob} for blob in blobs)]
    return Reading.of(Job.model_validate({"contents": [{"parts": parts}]}), context_turns=0)


def test_100_texts_go_in_a_call(bench: Bench) -> None:
    """250 texts are three calls; rows have length 1 and the order of the texts."""
    rows = bench.encoder().encode(TEXTS)
    assert bench.sim.stats()["calls_by_method"] == {"batchEmbedContents": 3}
    assert bench.texts == 250
    assert rows.shape == (250, 3072)
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.array_equal(bench.encoder().encode([TEXTS[200]])[0], rows[200])


def test_dimensions_are_asked_for(bench: Bench) -> None:
    """``encoder.dimensions``; the API cuts without scaling, we scale."""
    rows = bench.encoder(dimensions=64).encode(TEXTS[:2])
    assert rows.shape == (2, 64)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_what_was_embedded_lately_costs_no_call(bench: Bench) -> None:
    """By content: the same prompt in a later chunk, or twice in one."""
    encoder = bench.encoder()
    first = encoder.encode(["one", "two", "one"])
    assert (bench.calls, bench.texts) == (1, 2)
    again = encoder.encode(["two", "three", "one"])
    assert (bench.calls, bench.texts) == (2, 3)
    assert np.array_equal(again[[2, 0]], first[:2])
    encoder.encode(["three", "one"])
    assert bench.calls == 2


def test_a_start_with_known_utterances_makes_no_call(bench: Bench, tmp_path: Path) -> None:
    """A new process: only the disk knows them; another task type knows none."""

    def start(**options: Any) -> np.ndarray[Any, Any]:
        encoder = bench.encoder(**options)
        return ReadingEmbedder(
            encoder, cache=UtteranceCache(tmp_path, encoder.identity)
        ).embed_utterances(TEXTS)

    first = start()
    assert (bench.calls, bench.texts) == (3, 250)
    assert np.array_equal(start(), first)
    assert bench.calls == 3
    start(task_type="CLASSIFICATION")
    assert bench.calls == 6


def test_the_stand_ins_vectors_are_not_googles(bench: Bench) -> None:
    """A rehearsal must not leave its vectors for the real thing."""
    with genai.Client(api_key="k") as client:
        assert "googleapis" in GeminiEncoder(client).identity
    assert bench.sim.url in bench.encoder().identity
    assert bench.encoder().identity != bench.encoder(dimensions=64).identity


def test_faults_in_passing_are_overcome() -> None:
    """503s among the answers: repeated after a wait that grows, nothing embedded twice."""
    with Bench(faults={Fault.UNAVAILABLE: 0.5}, seed=3) as bench:
        rows = bench.encoder().encode(TEXTS)
        failed = bench.sim.stats()["faults"]["503"]
        assert failed >= 2
        assert bench.calls == 3 + failed
        assert bench.texts == 250
        assert len(bench.watch.slept_s) == failed
        assert np.isfinite(rows).all()


def test_a_spent_quota_is_waited_for_as_long_as_the_server_asks() -> None:
    """At the start, when waiting is better than failing."""
    with Bench(rpm={MODEL: 100}) as bench:
        encoder = bench.encoder()
        encoder.encode(TEXTS[:100])
        bench.watch.now_s += 15.5
        rows = encoder.encode_utterances(TEXTS[100:200])
        assert rows.shape == (100, 3072)
        assert bench.sim.stats()["rate_limited"]["rpm"] >= 1
        # RetryInfo has whole seconds, rounded down.
        assert 44 <= bench.watch.slept_s[0] <= 44.5
        assert bench.watch.now_s - 1015.5 < 60


def test_prompts_do_not_wait_that_long() -> None:
    """The chunk is better put back; the error says what to do."""
    with Bench(rpm={MODEL: 100}) as bench:
        encoder = bench.encoder()
        encoder.encode(TEXTS[:100])
        with pytest.raises(EmbeddingError, match=r"429 RESOURCE_EXHAUSTED.*texts_per_minute"):
            encoder.encode(TEXTS[100:164])
        assert bench.watch.slept_s == []
        bench.watch.now_s += 60
        assert encoder.encode(TEXTS[100:164]).shape == (64, 3072)


def test_a_server_that_stays_down_ends_in_an_error_that_says_so() -> None:
    """After five attempts, within half a minute."""
    with Bench(faults={Fault.UNAVAILABLE: 1.0}) as bench:
        with pytest.raises(EmbeddingError, match=r"503 UNAVAILABLE.*attempt 5.*routed later"):
            bench.encoder().encode(["x"])
        assert bench.calls == 5
        assert sum(bench.watch.slept_s) < 30


@pytest.mark.parametrize("fault", [Fault.DISCONNECT, Fault.BAD_GATEWAY, Fault.DEADLINE])
def test_broken_connections_are_tried_again(fault: Fault) -> None:
    """Whatever the SDK makes of them."""
    with Bench(faults={fault: 0.5}, seed=1) as bench:
        encoder = bench.encoder()
        for text in TEXTS[:6]:
            assert encoder.encode([text]).shape == (1, 3072)
        assert bench.sim.stats()["faults"][fault.value] >= 1


def test_nobody_listening_is_an_error_that_says_so(bench: Bench) -> None:
    """No traceback of the SDK's transport."""
    watch = Watch()
    options = types.HttpOptions(base_url="http://127.0.0.1:9")
    with genai.Client(api_key="k", http_options=options) as client:
        encoder = GeminiEncoder(client, timing=Timing(clock=watch, sleep=watch.sleep))
        with pytest.raises(EmbeddingError, match="connection failed"):
            encoder.encode(["x"])
    assert len(watch.slept_s) == 4


@pytest.mark.parametrize(
    ("options", "encoder", "error", "words"),
    [
        ({"api_key": "other"}, {}, EmbeddingError, "GEMINI_API_KEY"),
        ({}, {"name": "gemini-embedding-9"}, EmbeddingError, "encoder.name"),
        ({}, {"name": "gemini-2.5-pro"}, EmbeddingError, "encoder.name"),
        ({"faults": {Fault.FORBIDDEN: 1.0}}, {}, EmbeddingError, "GEMINI_API_KEY"),
        ({}, {"dimensions": 5000}, EmbeddingRefused, "range .*encoder.dimensions"),
    ],
)
def test_what_waiting_does_not_mend_is_not_tried_again(
    options: dict[str, Any], encoder: dict[str, Any], error: type[Exception], words: str
) -> None:
    """One call, and what to change."""
    with Bench(**options) as bench:
        with pytest.raises(error, match=words):
            bench.encoder(**encoder).encode(["x"])
        assert bench.calls == 1
        assert bench.watch.slept_s == []


def test_texts_per_minute_is_the_process_own_limit() -> None:
    """Two encoders of a model share it, as the old and the new one do after a reload."""
    with Bench(rpm={MODEL: 50}) as bench:
        first, second = bench.encoder(texts_per_minute=50), bench.encoder(texts_per_minute=50)
        first.encode(TEXTS[:30])
        second.encode_utterances(TEXTS[30:60])
        assert bench.watch.slept_s == [60.0]
        first.encode_utterances(TEXTS[100:220])  # more than fits a minute: in parts
        assert bench.sim.stats()["rate_limited"] == {}
        with pytest.raises(EmbeddingError, match=r"texts_per_minute \(50\) is used up"):
            first.encode(TEXTS[60:100])


def test_threads_share_the_limit_and_the_memory() -> None:
    """Celery's threads route at once; nothing is sent beyond the pace."""
    with Bench(rpm={MODEL: 200}) as bench:
        encoder = bench.encoder(texts_per_minute=200)
        chunks = [TEXTS[start : start + 50] for start in range(0, 200, 50)]
        with ThreadPoolExecutor(4) as pool:
            rows = list(pool.map(encoder.encode, chunks))
        assert bench.texts == 200
        assert np.array_equal(encoder.encode(TEXTS[:200]), np.vstack(rows))
        assert bench.texts == 200


def test_long_odd_and_blank_texts(bench: Bench) -> None:
    """Cut, cleaned, or not sent at all."""
    made = ReadingEmbedder(bench.encoder(dimensions=32))
    rows = made.embed_texts(["word " * 200_000, "lone \ud800 surrogate", " ", "né 🙂"])
    assert rows.any(axis=1).tolist() == [True, True, False, True]
    assert bench.texts == 3
    made.embed_texts(["", " "])
    assert bench.calls == 1


def test_each_text_has_a_vector_of_its_own_in_multimodal_models(bench: Bench) -> None:
    """Of a plain list of strings the SDK makes one content, and one vector."""
    rows = bench.encoder(name=SEEING, task_type="CLASSIFICATION").encode(TEXTS[:120])
    assert rows.shape == (120, 3072)
    assert bench.calls == 2
    with pytest.raises(RouterFileError, match="CLASSIFICATION"):
        bench.encoder(name=SEEING, task_type="QUESTION_ANSWERING")


def test_images_go_to_models_that_see(bench: Bench) -> None:
    """Half text, half images; what is no PNG or JPEG is not sent."""
    made = ReadingEmbedder(bench.encoder(name=SEEING))
    readings = [
        seen("A cat."),
        seen("A cat.", PNG),
        seen("", PNG),
        seen("", b"BM a bitmap"),
        seen("", *[PNG + bytes([n]) for n in range(5)]),
    ]
    text, both, image, nothing, several = made.embed(readings)
    assert np.allclose(both, (text + image) / np.linalg.norm(text + image), atol=1e-5)
    assert not nothing.any()
    assert several.any()
    assert bench.texts == 1 + 6
    assert bench.calls == 2
    made.embed(readings)
    assert bench.calls == 2


def test_a_call_stays_below_the_size_of_a_request(bench: Bench) -> None:
    """Large images go alone; one that no request can hold is not sent."""
    images = [PNG + bytes(size) for size in (8_000_000, 7_000_000, 100, 15_000_000)]
    rows = bench.encoder(name=SEEING, dimensions=8).encode_images(images)
    assert rows.any(axis=1).tolist() == [True, True, True, False]
    assert (bench.calls, bench.texts) == (2, 3)


def test_a_text_model_is_not_sent_images(bench: Bench) -> None:
    """gemini-embedding-001 reads text alone."""
    rows = ReadingEmbedder(bench.encoder(dimensions=8)).embed([seen("A cat.", PNG)])
    assert rows.shape == (1, 8)
    assert bench.texts == 1


def test_an_image_that_is_refused_hurts_itself_alone() -> None:
    """The others of the call are embedded one by one."""
    with Bench(faults={Fault.BAD_REQUEST: 0.4}, seed=2) as bench:
        images = [PNG + bytes([n]) for n in range(6)]
        rows = bench.encoder(name=SEEING).encode_images(images)
        good = int(rows.any(axis=1).sum())
        assert 0 < good < 6
        assert bench.texts == good


def test_vertex_is_asked_to_cut_long_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The Gemini API does it unasked, and the SDK refuses to ask it."""
    with Bench() as bench:
        options = types.HttpOptions(base_url=bench.sim.url)
        with genai.Client(vertexai=True, api_key="k", http_options=options) as client:
            encoder = GeminiEncoder(client, dimensions=16)
            assert encoder._config.auto_truncate
            assert encoder.encode(TEXTS[:3]).shape == (3, 16)
            assert encoder.encode(TEXTS[4:5]).shape == (1, 16)
