"""Searches in a prompt: keywords and regexes, which run on RE2.

RE2 keeps no stack of places to go back to, so a search is linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final

import re2  # type: ignore[import-untyped]

#: A regex made to be slow costs as many steps as it has instructions, for every byte: with
#: this many, half a second for the two ends of a text. The usual ones take microseconds.
_MAX_INSTRUCTIONS: Final = 4_000

#: Scripts that set no space between words, or (Korean) hang particles on them: there a
#: keyword is found within a longer word too. The long-vowel mark belongs to two of them.
_UNSPACED: Final = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\x{30FC}\x{FF70}\p{Hangul}"
    r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
)
#: A character that no word of the other scripts goes on with; RE2's own \b is ASCII only.
_NO_WORD: Final = rf"(?:[^\pL\pM\pN_]|[{_UNSPACED}])"
_SPACE: Final = r"[\s\pZ]+"

#: How RE2's words on lookaround and backreferences end.
_BEYOND_RE2: Final = re.compile(r"operator: \(\?(?:[=!P]|<[=!])$|escape sequence: \\[1-9gk]$")


class Pattern:
    """A compiled search."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled

    @property
    def instructions(self) -> int:
        """Size of RE2's program."""
        return int(self._compiled.programsize)

    def found_in(self, text: bytes) -> bool:
        """Whether the pattern is anywhere in a UTF-8 text."""
        return self._compiled.search(text) is not None


def compile_regex(pattern: str) -> Pattern:
    r"""A regex of a rule, in RE2's syntax, whose \w, \s and \b know ASCII only.

    Raises:
        ValueError: RE2 refuses it, or it is so large that a search would be slow.
    """
    compiled = _compiled(pattern)
    if compiled.instructions > _MAX_INSTRUCTIONS:
        raise ValueError(
            f"the regex makes a program of {compiled.instructions} instructions, and more than "
            f"{_MAX_INSTRUCTIONS} are slow on long prompts; shorten it: counted repetitions "
            r"({n}) of classes such as \w or \pL grow most"
        )
    return compiled


def compile_keywords(keywords: Sequence[str]) -> Pattern:
    """A search for any of some words and phrases, in a text that is casefolded.

    A keyword is found as a whole word: neither of its ends lies within a word, unless that
    end is no letter (``C++``), or of a script that does not set words apart.

    Raises:
        ValueError: they are too many for RE2.
    """
    no_word = _compiled(_NO_WORD)
    alternatives: dict[tuple[bool, bool], dict[str, None]] = {}
    for word in (form for keyword in keywords for form in _forms(keyword)):
        ends = (no_word.found_in(encoded(word[0])), no_word.found_in(encoded(word[-1])))
        phrase = _SPACE.join(map(re2.escape, word.split()))
        alternatives.setdefault(ends, {})[phrase] = None
    return _compiled(
        "|".join(
            ("" if open_left else rf"(?:\A|{_NO_WORD})")
            + f"(?:{'|'.join(phrases)})"
            + ("" if open_right else rf"(?:\z|{_NO_WORD})")
            for (open_left, open_right), phrases in alternatives.items()
        )
    )


def _forms(keyword: str) -> set[str]:
    """How a keyword may be written: accents may be characters of their own."""
    return {unicodedata.normalize(form, keyword).casefold() for form in ("NFC", "NFD")}


def encoded(text: str) -> bytes:
    """The text as patterns search it."""
    return text.encode("utf-8", "replace")  # a lone surrogate has no UTF-8


def _compiled(pattern: str) -> Pattern:
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True  # whether, not where: groups only cost time
    try:
        return Pattern(re2.compile(pattern, options))
    except re2.error as error:
        (said,) = error.args
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        hint = "; RE2 has no lookaround and no backreferences" if _BEYOND_RE2.search(words) else ""
        raise ValueError(f"RE2 refuses the pattern: {words}{hint}") from None
