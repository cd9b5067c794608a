"""Router files of semantic-router 0.x: read as they are, and migrated to ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from promptyard.errors import RouterFileError
from promptyard.names import Tier
from promptyard_worker.routing import find_router_file, load_router
from promptyard_worker.routing.checks import encoder
from promptyard_worker.routing.file import inspect_router
from promptyard_worker.routing.legacy import ENCODERS
from promptyard_worker.routing.migrate import migrated

FIXTURE = Path(__file__).parents[1] / "fixtures" / "legacy_router.yaml"
FLASH, LITE, PRO = "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-2.5-pro"
PRICED = {"tier": "lite", "price": {"input": 1, "output": 2}, "context_window": 9, "timeout_s": 1}


def route(name: str, model: str | None = None, **more: Any) -> dict[str, Any]:
    """A route of 0.x; its utterances are its own."""
    llm = {"module": "m", "class": "GoogleLLM", "model": model} if model else None
    return {"name": name, "utterances": [f"{name} {i}" for i in range(5)], "llm": llm, **more}


def legacy(folder: Path, *routes: dict[str, Any], **more: Any) -> Path:
    """A file of 0.x with these routes."""
    path = folder / "legacy.json"
    content = {"encoder_type": "google", "encoder_name": None, "routes": routes, **more}
    path.write_text(json.dumps(content, indent=1))
    return path


def complaint(path: Path) -> str:
    """What load_router says of a file of 0.x, without the folder."""
    with pytest.raises(RouterFileError) as caught:
        load_router(path)
    return str(caught.value).replace(f"{path.parent}/", "")


def remarks(path: Path) -> list[str]:
    """The warnings about a file that can be used."""
    inspection = inspect_router(path)
    assert inspection.config is not None
    return [str(finding) for finding in inspection.warnings]


def test_a_file_of_0x_loads_as_it_is() -> None:
    """Routes, tiers, models, thresholds, fallback in the routes' order, our Gemini encoder."""
    config = load_router(FIXTURE)
    assert [(r.name, r.tier, r.model, r.threshold, r.fallback) for r in config.routes] == [
        (PRO, Tier.PRO, PRO, None, (FLASH, LITE)),
        (FLASH, Tier.FLASH, FLASH, 0.35, (LITE,)),
        ("small-tasks", Tier.LITE, LITE, None, ()),
    ]
    assert (config.encoder.type, config.encoder.name) == ("gemini", "gemini-embedding-001")
    assert config.default is Tier.FLASH
    assert config.stage_order == ("semantic",)
    assert config.routes[2].utterances[3] == "Good morning!"


def test_models_are_those_of_the_packaged_file() -> None:
    """Prices, windows and timeouts, the long-context price too."""
    packaged = load_router(find_router_file(None))
    assert load_router(FIXTURE).models == {
        name: packaged.models[name] for name in (PRO, FLASH, LITE)
    }


def test_what_was_decided_or_is_not_used_is_said() -> None:
    """With its line; a class of one's own for Gemini is what we do ourselves."""
    said = remarks(FIXTURE)
    assert [one.split(": ")[0:2] for one in said] == [
        [
            "1",
            "the file names no default tier; prompts that no route takes go to flash. "
            "`promptyard router migrate` writes a file in which you can choose.",
        ],
        ["23", "routes[1].function_schemas"],
        ["44", "routes[2].llm.class"],
    ]


def test_json_of_the_same_shape_loads(tmp_path: Path) -> None:
    """0.x wrote either."""
    path = tmp_path / "legacy.json"
    path.write_text(json.dumps(yaml.safe_load(FIXTURE.read_text())))
    assert load_router(path).routes == load_router(FIXTURE).routes


def test_a_route_without_llm_is_named_by_its_model(tmp_path: Path) -> None:
    """If the name is a model that is known; the prefix of the API's names does not matter."""
    config = load_router(legacy(tmp_path, route(PRO), route("easy", f"models/{LITE}")))
    assert [r.model for r in config.routes] == [PRO, LITE]
    said = complaint(legacy(tmp_path, route("chitchat"), route(LITE)))
    assert "routes[0].llm: names no model, and 'chitchat' is none that is known here." in said


def test_tiers_follow_the_models_name_then_the_routes(tmp_path: Path) -> None:
    """A model whose price the file gives says its tier itself."""
    more = {name: {**PRICED, "tier": "pro"} for name in ("tuned-1",)}
    config = load_router(legacy(tmp_path, route("a", "tuned-1"), route("b", LITE), models=more))
    assert [r.tier for r in config.routes] == [Tier.PRO, Tier.LITE]
    said = complaint(legacy(tmp_path, route("a", "tuned-1"), route("b-pro", "tuned-2")))
    assert "routes[0].name: neither 'tuned-1' nor 'a' tells the tier. Put pro, flash or" in said
    assert "'b-pro' tells" not in said


@pytest.mark.parametrize(
    ("name", "tier"),
    [
        ("gemini-3-pro-preview", "pro"),
        ("gemini-2.0-flash-lite-001", "lite"),
        ("gemini-1.5-flash-8b", "flash"),
    ],
)
def test_a_missing_price_is_a_problem_with_what_to_write(
    tmp_path: Path, name: str, tier: str
) -> None:
    """Once a model, at the route that names it; the tier is no problem."""
    said = complaint(legacy(tmp_path, route("a", name), route("b", name)))
    (line,) = said.splitlines()
    assert f"routes[0].llm.model: there is no price for {name!r} here; there are prices" in line
    assert f"add `models: {{{name}: {{tier: {tier}, price: " in line


def test_models_of_the_file_come_first(tmp_path: Path) -> None:
    """Our own key in a file of 0.x, which 0.x would ignore."""
    path = legacy(tmp_path, route("a", "mine"), route(FLASH), models={"mine": PRICED})
    assert load_router(path).models["mine"].price.output == 2
    broken = {"mine": {key: PRICED[key] for key in PRICED if key != "price"}}
    path = legacy(tmp_path, route("a", "mine"), models=broken)
    assert "models.mine.price: is missing. Give it in USD per million tokens" in complaint(path)


def test_the_default_is_flash_else_the_cheapest_tier(tmp_path: Path) -> None:
    """Never the dearest by accident."""
    assert load_router(legacy(tmp_path, route(PRO), route(LITE))).default is Tier.LITE
    assert load_router(legacy(tmp_path, route(PRO), route(FLASH))).default is Tier.FLASH
    assert "prompts that no route takes go to lite" in remarks(legacy(tmp_path, route(LITE)))[0]


def test_a_model_of_two_routes_is_tried_once(tmp_path: Path) -> None:
    """Falling back to the model that has just failed would only cost time."""
    config = load_router(legacy(tmp_path, route("a", FLASH), route("b", LITE), route("c", FLASH)))
    assert [r.fallback for r in config.routes] == [(LITE,), (FLASH,), ()]


@pytest.mark.parametrize(("theirs", "ours"), ENCODERS.items())
def test_every_dense_encoder_of_0x_has_one_here(theirs: str, ours: str) -> None:
    """By a name that the checks know."""
    assert ours in encoder.OURS or ours in encoder.LIBRARY


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"encoder_type": "googel"}, "2: encoder_type: unknown encoder 'googel'. Did you mean 'g"),
        ({"encoder_type": "bm25"}, "2: encoder_type: 'bm25' counts words;"),
        ({"routes": []}, "4: routes: there is no route."),
        ({"routes": [route(FLASH, utterances=[]), route(LITE)]}, "7: routes[0].utterances: the r"),
        ({"routes": [route(FLASH, score_threshold=7)]}, "15: routes[0].score_threshold: 7 is out"),
        ({"routes": [route(FLASH, utterances="a")]}, "7: routes[0].utterances: 'a' is not a list."),
        ({"routes": [{"utterances": ["a"]}]}, "5: routes[0].name: is missing."),
    ],
)
def test_problems_name_the_place_in_the_file_of_0x(
    tmp_path: Path, more: dict[str, Any], expected: str
) -> None:
    """Its lines and its keys, not those of what it is translated to."""
    assert f"legacy.json:{expected}" in complaint(legacy(tmp_path, route(FLASH), **more))


def test_unknown_keys_are_ignored_as_0x_did_but_said(tmp_path: Path) -> None:
    """A misspelt threshold would go unnoticed otherwise."""
    said = remarks(legacy(tmp_path, route(FLASH, score_treshold=0.4), splitter=None))
    assert (
        "15: routes[0].score_treshold: unknown key; it is not used. Did you mean 'score_" in said[1]
    )
    assert "splitter: unknown key; it is not used." in said[2]


def test_a_slash_in_a_name_is_read_as_a_dash(tmp_path: Path) -> None:
    """It stands between sub-routes here."""
    path = legacy(tmp_path, route("models/flash", FLASH))
    assert load_router(path).routes[0].name == "models-flash"
    assert "routes[0].name: '/' stands between sub-routes here" in remarks(path)[1]


def test_our_file_is_not_taken_for_one_of_0x(tmp_path: Path) -> None:
    """`version` tells; a stray key is told as such."""
    path = tmp_path / "router.yaml"
    path.write_text("version: 1\nencoder_type: google\ndefault: flash\nroutes: []\nmodels: {}\n")
    assert "router.yaml:2: encoder_type: unknown key. Did you mean 'encoder'?" in complaint(path)


@pytest.mark.parametrize(
    "text", ["a: b # c", "'q' \"q\"", "two\nlines\n\nthree", "\U0001f600 é \x85"]
)
def test_a_migrated_file_is_the_same_policy(tmp_path: Path, text: str) -> None:
    """Whatever the texts hold; without a problem."""
    more: dict[str, Any] = {"description": text, "metadata": {"note": text, "more": [text]}}
    path = legacy(
        tmp_path, route(FLASH, utterances=[text, "a", "b", "c", "d"], **more), route(LITE)
    )
    translation = inspect_router(path).translation
    assert translation is not None
    new = tmp_path / "router.yaml"
    new.write_text(migrated(translation, name="legacy.json"))
    assert load_router(new).model_dump() == load_router(path).model_dump()
    assert inspect_router(new).warnings == ()
