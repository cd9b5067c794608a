"""Reading: what routing sees of a job, and what it costs to look."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from time import process_time
from typing import Any

import pytest

from promptyard.job import Job
from promptyard_worker import tokens
from promptyard_worker.routing.reading import END_CHARS, Reading, ends_of

PICTURE = bytes(range(256))


def turn(role: str, *parts: str | dict[str, Any]) -> dict[str, Any]:
    """One turn; a text stands for a part of it."""
    return {"role": role, "parts": [{"text": p} if isinstance(p, str) else p for p in parts]}


def inline(mime_type: str, data: str = "AAAA") -> dict[str, Any]:
    """A part with data."""
    return {"inline_data": {"mime_type": mime_type, "data": data}}


def read(contents: object, context_turns: int = 2, **options: Any) -> Reading:
    """The reading of a job."""
    job = Job.model_validate({"contents": contents, **options})
    return Reading.of(job, context_turns=context_turns)


def test_plain_text_is_the_request() -> None:
    """With nothing else to see."""
    reading = read("Prove it.")
    assert (reading.text, reading.request) == ("Prove it.", "Prove it.")
    assert (reading.instruction, reading.context, reading.images) == ("", (), ())
    assert reading.has == frozenset()
    assert not reading.asks_schema


def test_the_instruction_comes_first() -> None:
    """It often holds the task; metadata and the schema are seen as well."""
    reading = read(
        "Guten Tag",
        system_instruction="Translate.",
        metadata={"team": "a"},
        response_schema={"type": "string"},
    )
    assert reading.request == "Translate.\n\nGuten Tag"
    assert reading.metadata == {"team": "a"}
    assert reading.asks_schema


TALK = [
    turn("user", "one"),
    turn("model", "two"),
    turn("user", "three"),
    turn("model", "four"),
    turn("user", "five", "six"),
]


@pytest.mark.parametrize(
    ("context_turns", "context"),
    [
        (0, ()),
        (1, ("four",)),
        (2, ("four", "three")),
        (4, ("four", "three", "two", "one")),
        (9, ("four", "three", "two", "one")),
    ],
)
def test_the_window_holds_the_turns_before_the_latest_first(
    context_turns: int, context: tuple[str, ...]
) -> None:
    """The last user turn is the text, all its parts; the window ends where the talk began."""
    reading = read(TALK, context_turns, system_instruction="Be kind.")
    assert reading.text == "five\nsix"
    assert reading.context == context
    assert reading.request == "\n\n".join(("Be kind.", "five\nsix", *context))


def test_what_the_model_began_is_not_the_request() -> None:
    """A last turn of the model is a start of its answer."""
    reading = read([turn("user", "Tell a joke."), turn("model", "A horse walks")])
    assert reading.text == "Tell a joke."
    assert reading.context == ()


def test_without_a_user_the_last_turn_is_read() -> None:
    """A conversation of the model alone."""
    reading = read([turn("model", "one"), turn("model", "two")])
    assert (reading.text, reading.context) == ("two", ("one",))


def test_turns_without_text_leave_no_gap() -> None:
    """A picture, then a question about it; they still count as turns."""
    reading = read([turn("user", "Hi."), turn("user", inline("image/png")), turn("user", "Who?")])
    assert (reading.text, reading.context) == ("Who?", ("Hi.",))
    call = {"functionCall": {"name": "clock", "args": {}}}
    assert read([turn("user", "Now?"), turn("model", call), turn("user", "So?")], 1).context == ()


def test_a_picture_alone_has_no_text() -> None:
    """And is no error."""
    reading = read([turn("user", inline("image/png"))])
    assert (reading.text, reading.request) == ("", "")
    assert reading.has == {"image"}
    assert reading.language is None


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (inline("image/png"), "image"),
        (inline("IMAGE/JPEG"), "image"),
        (inline("audio/mp3"), "audio"),
        (inline("video/mp4"), "video"),
        (inline("application/pdf"), "file"),
        ({"inlineData": {"mimeType": "image/webp", "data": "AAAA"}}, "image"),
        ({"fileData": {"fileUri": "gs://b/film", "mimeType": "video/webm"}}, "video"),
        ({"file_data": {"file_uri": "gs://b/unknown"}}, "file"),
    ],
)
def test_a_part_tells_what_it_is(part: dict[str, Any], expected: str) -> None:
    """In both spellings, in any turn."""
    assert read([turn("user", "What is it?", part)]).has == {expected}
    assert read([turn("user", part), turn("model", "A."), turn("user", "And?")]).has == {expected}


@pytest.mark.parametrize(
    "data",
    [
        b64encode(PICTURE).decode(),
        b64encode(PICTURE).decode().rstrip("="),
        urlsafe_b64encode(PICTURE).decode(),
    ],
)
def test_pictures_of_the_last_turn_are_decoded(data: str) -> None:
    """Of both alphabets, padded or not, as the API takes them."""
    old = turn("user", inline("image/png", b64encode(b"old").decode()))
    assert read([old, turn("user", inline("image/png", data))]).images == (PICTURE,)
    assert read([turn("user", inline("audio/mp3", data))]).images == ()


def test_a_broken_picture_is_left_to_the_api() -> None:
    """The others are there; it is still a picture."""
    broken = [inline("image/png", data) for data in ("A", "AA!A", "", "é")]
    reading = read([turn("user", *broken, inline("image/png", b64encode(b"good").decode()))])
    assert reading.images == (b"good",)
    assert reading.has == {"image"}


LOOP = ["    for (;;) {", "", "        wait(1);", "    }"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Why?\n```python\nx = 1\n```", True),
        ("Why?\n  ~~~\nx = 1\n  ~~~", True),
        ("What does ```ls -l``` do?", True),
        ("Why?\n" + "\n".join(LOOP), True),
        ("Why?\r\n" + "\r\n".join(LOOP) + "\r\n", True),
        ("Why?\n" + "\n".join(line.replace("    ", "\t") for line in LOOP), True),
        ("Why?\n    def half(x):\n        if odd(x):\n            give_up()\n", True),
        ("Thanks~~~ see you", False),
        ("Use `ls` and `cd`.", False),
        ("    - one;\n    - two;\nand then\n    - three;", False),
        ("An indented poem:\n    the rain,\n    the sea,\n    and me.", False),
        ("", False),
    ],
)
def test_code_is_fenced_or_indented(text: str, expected: bool) -> None:
    """Three indented lines in a row that end as code does."""
    reading = Reading(text)
    assert reading.has_code is expected
    assert ("code" in reading.has) is expected


def test_code_is_found_at_both_ends_of_a_long_prompt() -> None:
    """What is between is not read."""
    filler = "word " * 100_000
    assert Reading(f"{filler}\n```\nx\n```").has_code
    assert Reading(f"```\nx\n```\n{filler}").has_code
    assert not Reading(f"{filler}\n```\nx\n```\n{filler}").has_code


@pytest.mark.parametrize(
    "text",
    [
        "\n" * END_CHARS * 2,
        "    ;" * 4_000,
        "    x;y\n" * 2_500,
        ("    " + ";" * 9_000 + "x\n") * 3,
        (" " * 19_999) + "x",
        ("    x;\n    y;\n    z\n") * 1_000,
        "`` " * 6_000,
        "~~ \n" * 5_000,
        "\t\n" * 2_500_000,
    ],
)
def test_no_text_makes_the_search_for_code_slow(text: str) -> None:
    """One look at each line; 5 MB cost no more than 20 kB."""
    reading = Reading(text)
    began = process_time()
    assert not reading.has_code
    assert process_time() - began < 0.5


def test_a_text_of_two_ends_is_no_longer_than_its_parts() -> None:
    """A text that fits is left as it is."""
    assert ends_of("x" * 2 * END_CHARS) == "x" * 2 * END_CHARS
    cut = ends_of("a" * END_CHARS + "between" + "z" * END_CHARS)
    assert cut.startswith("a" * END_CHARS)
    assert cut.endswith("z" * END_CHARS)
    assert "between" not in cut


def test_the_language_is_that_of_the_text_else_of_the_instruction() -> None:
    """A number has none."""
    german = "Was ist die Quersumme dieser Zahl, bitte?"
    assert read("How many apples are left?", system_instruction=german).language == "en"
    assert read("1234567", system_instruction=german).language == "de"


def test_tokens_count_the_whole_prompt() -> None:
    """Whatever is in the window."""
    long = [turn("user", "one " * 100), turn("model", "two " * 100), turn("user", "three " * 100)]
    alone = sum(tokens.count(f"{word} " * 100) for word in ("one", "two", "three"))
    for context_turns in (0, 1, 5):
        assert abs(read(long, context_turns).token_count - alone) <= 2
    begun = [*long, turn("model", "four " * 100)]
    assert read(begun).token_count - read(long).token_count == tokens.count("four " * 100)
    assert read("x" * 400, system_instruction="y" * 4000).token_count == 1100


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (inline("image/png"), tokens.IMAGE_TOKENS),
        (inline("audio/mp3", "A" * 64_000), 96),
        ({"fileData": {"fileUri": "gs://b/f.pdf", "mimeType": "application/pdf"}}, 258),
        ({"fileData": {"fileUri": "gs://b/f.png"}}, 258),
        ({"functionResponse": {"name": "f", "response": {"x": "y" * 4_000}}}, 1_000),
    ],
)
def test_tokens_count_what_is_no_text(part: dict[str, Any], expected: int) -> None:
    """As the stand-in counts them, in any turn."""
    asked = turn("user", "What is it?")
    with_part = read([turn("user", part), asked]).token_count - read([asked]).token_count
    assert expected <= with_part <= expected + 20


def test_a_prompt_behind_a_long_instruction_is_read() -> None:
    """Of the instruction both ends are, and the whole prompt follows."""
    found = read("What is the capital of Peru?", system_instruction="begin " + "x" * 9000 + " end")
    assert found.request.startswith("begin ")
    assert found.request.endswith(" end\n\nWhat is the capital of Peru?")
    assert len(found.request) < 1000
