"""Keywords and regexes of rules: what they find, and that nothing can hold them up."""

from __future__ import annotations

import re
from random import Random
from time import process_time
from typing import Any

import pytest

from promptyard_worker.routing.reading import END_CHARS, Reading
from promptyard_worker.routing.rules import RulesStage
from promptyard_worker.routing.searches import compile_keywords, compile_regex
from promptyard_worker.routing.stage import Chunk, Fork
from promptyard_worker.routing.stages import RuleConfig
from tests.unit.test_rules import Unasked


def finds(when: dict[str, Any], text: str, instruction: str = "") -> bool:
    """Whether a rule of these conditions takes the prompt."""
    rule = RuleConfig.model_validate({"name": "only", "when": when, "tier": "pro"})
    chunk = Chunk([Reading(text, instruction)], Unasked())
    return RulesStage((rule,)).opinions(chunk, Fork("", ()))[0].is_sure


@pytest.mark.parametrize(
    ("keyword", "text", "expected"),
    [
        ("prove", "PROVE it.", True),
        ("prove", "I approve, and improve.", False),
        ("prove", "prove_it()", False),
        ("prove", "prove2", False),
        ("prove", "(prove)", True),
        ("prove", "x\nprove", True),
        ("solve the equation", "Solve  the\n equation!", True),
        ("solve the equation", "Solve\u00a0the equation", True),
        ("solve the equation", "solve theequation", False),
        ("C++", "Is c++ fast?", True),
        ("C++", "Use C++17.", True),
        ("C++", "abc++", False),
        ("a.b", "axb", False),
        ("straße", "IN DER STRASSE", True),
        ("ΣΟΦΟΣ", "ο σοφός", False),
        ("σοφός", "Ο ΣΟΦΌΣ", True),
        ("café", "Un CAFÉ.", True),
        ("café", "un cafe\u0301", True),
        ("cafe\u0301", "un café", True),
        ("cafe", "un cafe\u0301", False),
        ("доказать", "ДОКАЗАТЬ теорему", True),
        ("доказ", "доказать", False),
        ("证明", "请证明这个定理", True),
        ("サーバー", "サーバーを作る", True),
        ("번역", "이 문장을 번역해 줘", True),
        ("แปล", "ช่วยแปลประโยคนี้", True),
        ("API", "调用API接口", True),
        ("API", "APIs", False),
        ("👍", "good👍good", True),
    ],
)
def test_keywords_are_whole_words_in_any_case(keyword: str, text: str, expected: bool) -> None:
    """Accents as one character or two, blanks as they come; no words in Chinese."""
    assert finds({"keywords": [keyword]}, text) is expected


def test_any_keyword_will_do_and_the_instruction_counts() -> None:
    """A bulk prompt's task often stands in the system instruction."""
    when = {"keywords": ["translate", "翻译", "C#"]}
    assert finds(when, "翻译这个")
    assert finds(when, "More C#, please.")
    assert finds(when, "Guten Tag", "Translate to French.")
    assert not finds(when, "Guten Tag", "Be kind.")


@pytest.mark.parametrize(
    ("regex", "text", "expected"),
    [
        (r"^\d+ [+*] \d+$", " 17 + 4\n", True),
        (r"^\d+ [+*] \d+$", "What is 17 + 4", False),
        (r"prove", "Prove it", False),
        (r"(?i)prove", "Prove it", True),
        (r"[[:punct:]]{3} ", "what??? now", True),
        (r"\p{Han}{2}", "请证明", True),
        (r"a.b", "a\nb", False),
    ],
)
def test_a_regex_is_found_anywhere(regex: str, text: str, expected: bool) -> None:
    """RE2's syntax; the anchors are the ends of the text, blanks aside."""
    assert finds({"regex": regex}, text) is expected


def test_a_lone_surrogate_hides_nothing() -> None:
    """It has no UTF-8, in which RE2 searches."""
    when = {"keywords": ["prove"], "regex": "it . now", "language": ["en"]}
    assert finds(when, "Prove it \ud83d now, and explain every step of the proof to me.")


def test_a_regex_reads_the_instruction_by_itself() -> None:
    """Text and instruction are not one text, so anchors work in both."""
    both = ("Guten Tag", "Translate.")
    assert finds({"regex": "^Translate"}, *both)
    assert finds({"regex": "^Guten Tag$"}, *both)
    assert not finds({"regex": r"(?s)Guten.*Translate|Translate.*Guten"}, *both)


@pytest.mark.parametrize("when", [{"keywords": ["summarise"]}, {"regex": r"(?i)\bsummarise\b"}])
def test_both_ends_of_a_huge_prompt_are_searched(when: dict[str, Any]) -> None:
    """The ask stands first or last; what is between is not read, however long."""
    filler = "Once upon a time there was a dog. " * 150_000
    assert finds(when, f"Summarise this:\n{filler}")
    assert finds(when, f"{filler}\nSummarise this.")
    assert not finds(when, f"{filler} summarise {filler}")


def test_a_word_that_is_cut_is_no_word() -> None:
    """Where the two ends are cut off, half a word is not taken for a whole one."""
    tail = "prove" + "." * (END_CHARS - len("prove"))
    text = "." * END_CHARS + "ap" + tail
    assert not finds({"keywords": ["prove"]}, text)
    assert not finds({"regex": r"\bprove\b|^prove"}, text)


@pytest.mark.parametrize(
    ("regex", "prompt"),
    [
        (r"(a+)+$", "a" * 5_000_000 + "!"),
        (r"^(a|a)*$", "a" * 5_000_000 + "!"),
        (r"(x+x+)+y", "x" * 5_000_000),
        (r"^(\w+\s?)*$", "word " * 1_000_000 + "!"),
        (r"(.*)(.*)(.*)(.*)(.*)[^a]b", "a" * 5_000_000),
        (r"[ab]*a[ab]{500}c", "".join(Random(0).choices("ab", k=100_000))),
    ],
)
def test_a_hostile_regex_on_a_hostile_prompt_is_quick(regex: str, prompt: str) -> None:
    """Python's own engine would not end on the first of these."""
    began = process_time()
    assert not finds({"regex": regex}, prompt)
    assert process_time() - began < 2


def test_thousands_of_keywords_are_one_scan() -> None:
    """Of 20,000 characters, near misses all of them."""
    when = {"keywords": [f"word{i} of many" for i in range(3_000)]}
    began = process_time()
    assert not finds(when, "word299 of manyfold " * 250_000)
    assert finds(when, "A Word2999 of many.")
    assert process_time() - began < 2


@pytest.mark.parametrize("regex", [r"(a)\1", "(?=a)b", "(?!a)b", "(?<=a)b", "(?P<x>a)(?P=x)"])
def test_what_re2_lacks_is_named(regex: str) -> None:
    """Lookaround and backreferences."""
    with pytest.raises(ValueError, match="RE2 has no lookaround and no backreferences"):
        compile_regex(regex)


@pytest.mark.parametrize(
    ("regex", "words"),
    [
        ("[a", r"missing \]: \[a"),
        ("*a", "no argument for repetition operator"),
        (r"a\Z", r"invalid escape sequence: \\Z$"),
        ("a{2000}", "invalid repetition size"),
        (r"\pL{1000}", "pattern too large"),
        (r"\pL{20}", "program of .* instructions"),
    ],
)
def test_other_mistakes_are_in_re2s_words(
    regex: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Raised, with nothing written to stderr."""
    with pytest.raises(ValueError, match=words):
        compile_regex(regex)
    assert capfd.readouterr().err == ""


def test_too_many_keywords_are_refused() -> None:
    """At load time, in RE2's words."""
    with pytest.raises(ValueError, match="pattern too large"):
        compile_keywords([f"{i} of very many keywords" for i in range(50_000)])


def test_re2_is_what_searches() -> None:
    """And not Python's engine, which refuses these and whose time has no bound."""
    with pytest.raises(re.error):
        re.compile(r"\pL\z")
    assert compile_regex(r"\pL\z").found_in("é".encode())
