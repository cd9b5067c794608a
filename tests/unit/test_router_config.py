"""RouterConfig: what a policy may hold, and what it answers."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from promptyard.errors import RouterFileError
from promptyard.names import Tier
from promptyard_worker.routing import RetryConfig, RouterConfig

PRICE = {"input": 1.0, "output": 2.0, "cached_input": 0.1}


def model(tier: str, **more: Any) -> dict[str, Any]:
    """A model of the file."""
    return {"tier": tier, "price": PRICE, "context_window": 1000, "timeout_s": 5, **more}


def policy(**more: Any) -> RouterConfig:
    """A small policy; ``more`` replaces keys."""
    content: dict[str, Any] = {
        "version": 1,
        "default": "flash",
        "routes": [
            {
                "name": "hard",
                "tier": "pro",
                "model": "big",
                "thinking_budget": -1,
                "fallback": ["mid", "big", "mid"],
                "utterances": ["Prove it."],
            },
            {"name": "chat", "tier": "flash", "model": "mid", "utterances": ["Hello."]},
            {
                "name": "chat2",
                "tier": "flash",
                "model": "mid2",
                "fallback": ["small"],
                "utterances": ["Bye."],
            },
        ],
        "models": {
            "mid2": model("flash"),
            "big": model("pro", retry={"max_attempts": 2}),
            "mid": model("flash"),
            "small": model("lite"),
        },
        "retry": {"max_attempts": 5, "base_delay_s": 0.5, "max_delay_s": 9},
    }
    return RouterConfig.model_validate({**content, **more})


def test_models_of_a_tier_come_in_file_order() -> None:
    """All models with the tier, named by a route or not."""
    assert policy().models_of_tier(Tier.FLASH) == ("mid2", "mid")
    assert policy().models_of_tier(Tier.LITE) == ("small",)


def test_the_default_model_is_that_of_the_first_route() -> None:
    """Else the first model with the tier; else an error that names the tier."""
    assert policy().default_model(Tier.FLASH) == "mid"
    assert policy().default_model(Tier.LITE) == "small"
    with pytest.raises(RouterFileError, match="lite"):
        policy(models={"big": model("pro")}).default_model(Tier.LITE)


def test_a_fallback_chain_begins_with_the_model_and_repeats_none() -> None:
    """By the model's first route, or by the route that decided."""
    assert policy().fallback_chain("big") == ("big", "mid")
    assert policy().fallback_chain("mid2", route="chat2") == ("mid2", "small")
    assert policy().fallback_chain("mid", route="chat2") == ("mid", "small")
    assert policy().fallback_chain("small") == ("small",)


def test_a_model_may_override_the_retry_policy() -> None:
    """And inherits the rest from the defaults, not from the file's policy."""
    assert policy().retry_of("big").max_attempts == 2
    assert policy().retry_of("mid") == RetryConfig(max_attempts=5, base_delay_s=0.5, max_delay_s=9)


def test_an_unknown_model_names_the_known_ones() -> None:
    """The message helps to correct the caller."""
    with pytest.raises(RouterFileError, match="it has mid2, big, mid, small"):
        policy().model("huge")


def test_thinking_budgets_are_the_routes() -> None:
    """None for a model that no route calls, or whose route sets none."""
    assert policy().thinking_budget("big") == -1
    assert policy().thinking_budget("mid") is None
    assert policy().thinking_budget("small") is None


def leaf(name: str, **more: Any) -> dict[str, Any]:
    """A route without sub-routes."""
    return {"name": name, "tier": "flash", "model": "mid", **more}


def test_routes_are_a_tree_with_addresses() -> None:
    """Leaves have a model each; groups hold them, and can be found too."""
    group = {
        "name": "law",
        "utterances": ["Is it legal?"],
        "routes": [
            leaf("easy", utterances=["May I park here?"]),
            {"name": "hard", "routes": [leaf("eu"), leaf("us", model="big", tier="pro")]},
        ],
    }
    tree = policy(routes=[group, leaf("chat")])
    assert [address for address, _ in tree.leaves()] == [
        "law/easy",
        "law/hard/eu",
        "law/hard/us",
        "chat",
    ]
    us, law = tree.route("law/hard/us"), tree.route("law")
    assert us is not None
    assert us.model == "big"
    assert law is not None
    assert list(law.all_utterances()) == ["Is it legal?", "May I park here?"]
    assert tree.route("law/soft") is tree.route("chat/easy") is None
    assert tree.default_model(Tier.PRO) == "big"


def test_stages_stand_in_their_usual_order_unless_listed() -> None:
    """Only those that have what they need."""
    rule = {"name": "a", "when": {"text": False}, "tier": "flash"}
    more: dict[str, Any] = {"rules": [rule], "judge": {"model": "small"}, "learned": {"file": "a"}}
    assert policy().stage_order == ("semantic",)
    assert policy(**more).stage_order == ("rules", "semantic", "learned", "judge")
    assert policy(**more, stages=["learned", "rules"]).stage_order == ("learned", "rules")
    assert policy(routes=[leaf("chat")]).stage_order == ()


def test_harder_prompts_think_with_the_budget_of_their_band() -> None:
    """The highest band that the difficulty reaches; the route's own below, or if unknown."""
    bands = [
        {"difficulty": 0.5, "thinking_budget": 512},
        {"difficulty": 0.8, "thinking_budget": -1},
    ]
    route = policy(routes=[leaf("chat", thinking_budget=0, bands=bands)]).routes[0]
    assert [route.budget_at(at) for at in (None, 0.4, 0.5, 0.79, 0.8)] == [0, 0, 512, 512, -1]


def test_the_catalog_is_what_producers_need() -> None:
    """Tiers, their models, the prices."""
    catalog = policy().catalog()
    assert catalog.tier_models == {Tier.PRO: "big", Tier.FLASH: "mid", Tier.LITE: "small"}
    assert catalog.models["big"].price.output == 2.0
    assert catalog.policy_version == policy().policy_version


def test_the_version_follows_the_content() -> None:
    """Same content, same version; and a file's version is kept."""
    assert policy().policy_version == policy().policy_version
    assert policy().policy_version != policy(default="pro").policy_version
    assert policy().at_version("abc").policy_version == "abc"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("models", "big", "timeout_s"), 0),
        (("models", "big", "context_window"), -1),
        (("models", "big", "price", "input"), -0.1),
        (("routes", 0, "threshold"), 1.5),
        (("routes", 0, "thinking_budget"), -2),
        (("retry", "max_attempts"), 0),
        (("retry", "max_delay_s"), 0.1),
        (("semantic",), {"top_k": 0}),
        (("semantic",), {"aggregation": "sum"}),
        (("encoder",), {"type": ""}),
        (("encoder",), {"type": "static", "name": "a"}),
        (("stages",), ["rules", "magic"]),
        (("rules",), [{"name": "a", "when": {}, "tier": "pro"}]),
        (("rules",), [{"name": "a", "when": {"text": True}}]),
        (("learned",), {"file": "a", "quality": 0}),
        (("learned",), {"file": "a", "quality": 0.9, "max_cost_per_1k": 1}),
        (("judge",), {"model": "big", "max_share": 1.1}),
        (("routes", 0, "name"), "a/b"),
        (("routes", 0, "model"), None),
        (("routes", 0, "routes"), [{"name": "a", "tier": "pro", "model": "big"}]),
        (("routes", 0, "bands"), [{"difficulty": 1.1, "thinking_budget": 0}]),
        (("version",), 2),
        (("unknown",), 1),
    ],
)
def test_values_out_of_range_are_refused(path: tuple[str | int, ...], value: object) -> None:
    """Each bound of the schema."""
    content: Any = policy().model_dump(mode="json")
    place = content
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ValidationError):
        RouterConfig.model_validate(content)
