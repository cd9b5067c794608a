"""Settings, command line values and directives of the stand-in."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from pydantic import ValidationError

from promptyard_worker.sim.command import describe_error, parse_pairs
from promptyard_worker.sim.config import SimConfig, limit_of
from promptyard_worker.sim.dice import chance
from promptyard_worker.sim.directive import parse, strip
from promptyard_worker.sim.fault import Fault, FaultRates
from promptyard_worker.sim.profile import DEFAULT_MODELS, profile_of
from promptyard_worker.sim.refusal import Refusal


@pytest.mark.parametrize(
    "settings",
    [
        {"unknown": 1},
        {"rpm": {"gemini-9": 5}},
        {"rpm": {"*": -1}},
        {"faults": {"teapot": 0.1}},
        {"faults": {"503": 0.7, "429": 0.4}},
        {"faults": {"503": 1.5}},
        {"latency_scale": -1},
        {"latency_scale": float("inf")},
        {"models": ()},
        {"api_key": ""},
    ],
)
def test_wrong_settings_fail_where_they_are_written(settings: dict[str, Any]) -> None:
    """Nothing unknown is ignored."""
    with pytest.raises(ValidationError):
        SimConfig.model_validate(settings)


def test_limits_of_one_model_go_before_those_of_all() -> None:
    """``*`` stands for the models not named."""
    config = SimConfig(rpm={"*": 5, "gemini-2.5-pro": 0})
    assert limit_of(config.rpm, "gemini-2.5-pro") == 0
    assert limit_of(config.rpm, "gemini-2.5-flash") == 5
    assert limit_of(config.tpm, "gemini-2.5-flash") is None


def test_the_key_is_not_shown() -> None:
    """The settings can be logged."""
    assert "hush" not in repr(SimConfig(api_key="hush"))


def test_pairs_of_the_command_line() -> None:
    """``MODEL=N`` per model, ``N`` for all."""
    assert parse_pairs(["a=1", "7"], int, "--rpm") == {"a": 1, "*": 7}
    assert parse_pairs(["503=0.5"], float, "--fault", bare=False) == {"503": 0.5}
    assert parse_pairs(None, int, "--rpm") == {}


@pytest.mark.parametrize("given", [["a=b"], ["=5"], ["a=1", "a=2"], [""], ["a="]])
def test_wrong_pairs_name_the_flag(given: list[str]) -> None:
    """The message says which flag and which entry."""
    with pytest.raises(typer.BadParameter, match="--rpm"):
        parse_pairs(given, int, "--rpm")


def test_a_bare_fault_rate_is_refused() -> None:
    """A rate without a fault means nothing."""
    with pytest.raises(typer.BadParameter):
        parse_pairs(["0.5"], float, "--fault", bare=False)


def test_settings_errors_read_as_sentences() -> None:
    """They name the setting and what is served, without pydantic's jargon."""
    with pytest.raises(ValidationError) as caught:
        SimConfig.model_validate({"rpm": {"nope": 1}})
    message = describe_error(caught.value)
    assert "rpm: no model 'nope'" in message
    assert "gemini-2.5-pro" in message
    assert "pydantic" not in message


def test_families_by_name() -> None:
    """Pro is slower than flash, flash than flash-lite; only pro must think."""
    pro, flash, lite = (profile_of(f"gemini-2.5-{kind}") for kind in ("pro", "flash", "flash-lite"))
    assert pro.base_s > flash.base_s > lite.base_s
    assert (pro.thinking.can_stop, flash.thinking.can_stop) == (False, True)
    assert lite.thinking.on_by_default is False
    assert profile_of("gemini-embedding-001").embeds
    assert len({profile_of(name).name for name in DEFAULT_MODELS}) == len(DEFAULT_MODELS)


def test_directives_combine() -> None:
    """Several items, in one bracket or many."""
    found = parse("Hi [[sim: 503 x2, 429 x1; retry=3s]] there [[sim: latency=250ms quota=rpd]]")
    assert [found.fault_of(turn) for turn in (1, 2, 3, 4)] == [
        Fault.UNAVAILABLE,
        Fault.UNAVAILABLE,
        Fault.EXHAUSTED,
        None,
    ]
    assert (found.retry_s, found.latency_s, found.quota) == (3.0, 0.25, "rpd")
    assert strip("Hi [[sim: 503]] there") == "Hi  there"


def test_a_directive_without_a_count_lasts() -> None:
    """Every call of the prompt fails."""
    assert parse("[[sim: hang]]").fault_of(99) is Fault.HANG


@pytest.mark.parametrize("text", ["[[sim: teapot]]", "[[sim: x2]]", "[[sim: retry=soon]]"])
def test_unknown_directives_are_refused(text: str) -> None:
    """A slip of the pen is answered 400 and names what is known."""
    with pytest.raises(Refusal, match="known are 400, 401") as caught:
        parse(text)
    assert caught.value.status == 400


def test_an_answer_is_dictated() -> None:
    """Any JSON, brackets included; of several the last; the rest of the prompt stays."""
    found = parse('A [[sim: answer=[{"x": [1, "]]"]}] ]] b [[sim:answer={}]] c [[sim: 503 x1]]')
    assert (found.answer, found.fault_of(1)) == ("{}", Fault.UNAVAILABLE)
    text = 'A [[sim: answer=[{"x": [1, "]]"]}] ]] b'
    assert parse(text).answer == '[{"x": [1, "]]"]}]'
    assert strip(text) == "A  b"


@pytest.mark.parametrize("item", ["answer=", "answer={x}", "answer={} 503", "answer=[1"])
def test_a_dictated_answer_is_json_alone_in_its_bracket(item: str) -> None:
    """Anything else is a slip of the pen, and said so."""
    with pytest.raises(Refusal, match="answer") as caught:
        parse(f"[[sim: {item}]]")
    assert caught.value.status == 400


def test_rates_are_met_and_repeatable() -> None:
    """A tenth is about a tenth; the draw depends on seed, prompt and turn alone."""
    rates = FaultRates({Fault.UNAVAILABLE: 0.1, Fault.HANG: 0.05}, seed=1)
    drawn = [rates.draw(b"%d" % number, 1) for number in range(10_000)]
    assert 900 < drawn.count(Fault.UNAVAILABLE) < 1_100
    assert 420 < drawn.count(Fault.HANG) < 580
    assert drawn[::-1] == [rates.draw(b"%d" % number, 1) for number in reversed(range(10_000))]
    assert chance(1, b"a", 1) != chance(1, b"a", 2) != chance(2, b"a", 1)
