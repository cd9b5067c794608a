"""Strings that match a regular expression: the part of it that schemas use.

Literals, ``.``, classes, ``\\d \\w \\s``, groups, alternatives, quantifiers and anchors.
Look-around and back-references are not sampled.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from promptyard_worker.sim.dice import Dice

Sampler = Callable[[Dice], str]

_DIGITS: Final = "0123456789"
_WORD: Final = "abcdefghijklmnopqrstuvwxyz"
_ESCAPES: Final = {"d": _DIGITS, "w": _WORD + _DIGITS, "s": " ", "D": _WORD, "W": "-", "S": _WORD}
_CONTROL: Final = {"n": "\n", "t": "\t", "r": "\r"}
_ATTEMPTS: Final = 8
#: How often at most an open quantifier repeats beyond its minimum.
_EXTRA_REPEATS: Final = 3


def sample(pattern: str, dice: Dice) -> str | None:
    """A string that ``pattern`` is found in, or None if it cannot be made."""
    try:
        matcher, sampler = _compile(pattern)
    except (ValueError, IndexError, re.error):
        return None
    for _ in range(_ATTEMPTS):
        text = sampler(dice)
        if matcher.search(text):
            return text
    return None


@lru_cache(maxsize=256)
def _compile(pattern: str) -> tuple[re.Pattern[str], Sampler]:
    reader = _Reader(pattern)
    sampler = reader.alternatives()
    if not reader.at_end:
        raise ValueError("unbalanced parenthesis")
    return re.compile(pattern), sampler


class _Reader:
    """A recursive descent over the pattern; each rung returns a sampler."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    @property
    def at_end(self) -> bool:
        """Whether everything is read."""
        return self._at >= len(self._pattern)

    def alternatives(self) -> Sampler:
        """``a|b|c``."""
        branches = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            branches.append(self._sequence())
        return lambda dice: dice.pick(branches)(dice) if len(branches) > 1 else branches[0](dice)

    def _sequence(self) -> Sampler:
        items: list[Sampler] = []
        while not self.at_end and self._peek() not in "|)":
            items.append(self._quantified(self._atom()))
        return lambda dice: "".join([item(dice) for item in items])

    def _quantified(self, atom: Sampler) -> Sampler:
        least, most = self._quantifier()
        if self._peek() in ("?", "+"):  # lazy or possessive: the same strings
            self._at += 1
        if (least, most) == (1, 1):
            return atom
        span = most - least + 1
        return lambda dice: "".join([atom(dice) for _ in range(least + dice.below(span))])

    def _quantifier(self) -> tuple[int, int]:
        mark = self._peek()
        simple = {"*": (0, _EXTRA_REPEATS), "+": (1, 1 + _EXTRA_REPEATS), "?": (0, 1)}
        if mark in simple:
            self._at += 1
            return simple[mark]
        counted = re.compile(r"\{(\d+)(,?)(\d*)\}").match(self._pattern, self._at)
        if counted is None:
            return 1, 1
        self._at = counted.end()
        least = int(counted[1])
        if not counted[2]:
            return least, least
        return least, int(counted[3]) if counted[3] else least + _EXTRA_REPEATS

    def _atom(self) -> Sampler:
        mark = self._take()
        if mark == "(":
            return self._group()
        if mark == "[":
            return _one_of(self._members())
        if mark == "\\":
            return _one_of(self._escape())
        if mark in "^$":
            return lambda _dice: ""
        return _one_of(_WORD) if mark == "." else _one_of(mark)

    def _group(self) -> Sampler:
        if self._peek() == "?":
            name = re.compile(r"\?(?::|P?<[A-Za-z_]\w*>)").match(self._pattern, self._at)
            if name is None:
                raise ValueError("look-around is not sampled")
            self._at = name.end()
        inner = self.alternatives()
        if self._take() != ")":
            raise ValueError("unbalanced parenthesis")
        return inner

    def _members(self) -> str:
        """The characters of a class; for a negated one, some that it does not name."""
        negated = self._peek() == "^"
        self._at += negated
        members = ""
        while self._peek() != "]" or not members:
            first = self._member()
            if self._peek() == "-" and self._pattern[self._at + 1] != "]" and len(first) == 1:
                self._at += 1
                last = self._member()
                first = "".join(map(chr, range(ord(first), min(ord(last), ord(first) + 200) + 1)))
            members += first
        self._at += 1
        if not negated:
            return members
        return "".join(c for c in _WORD + _DIGITS + _WORD.upper() + " -_" if c not in members)

    def _member(self) -> str:
        mark = self._take()
        return self._escape() if mark == "\\" else mark

    def _escape(self) -> str:
        mark = self._take()
        if mark in "bB":
            return ""
        if mark.isdigit():
            raise ValueError("back-references are not sampled")
        return _ESCAPES.get(mark) or _CONTROL.get(mark) or mark

    def _peek(self) -> str:
        return self._pattern[self._at] if self._at < len(self._pattern) else "\0"

    def _take(self) -> str:
        mark = self._pattern[self._at]
        self._at += 1
        return mark


def _one_of(characters: str) -> Sampler:
    if len(characters) < 2:
        return lambda _dice: characters
    return lambda dice: dice.pick(characters)
