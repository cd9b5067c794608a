"""Calibration: the library's fit on our scores, judged on prompts it has not seen."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from promptyard.errors import InputError
from promptyard.job import Job
from promptyard.names import Tier
from promptyard_worker.routing import RouterConfig
from promptyard_worker.routing.calibration import CalibrationFit, Method, fit_calibration
from promptyard_worker.routing.labelled import Labelled
from promptyard_worker.routing.router import PromptRouter
from promptyard_worker.routing.semantic import SemanticStage

THINGS = ("the sea", "rain", "a cat", "my town", "bread", "the moon", "an old clock", "snow")
#: Near to a route, and right; far from both, and of a tier that neither leads to.
NEAR = [
    *((f"Prove that {thing} is prime.", Tier.PRO) for thing in THINGS),
    *((f"Write a poem about {thing}.", Tier.FLASH) for thing in THINGS),
]
FAR = [(f"{verb} {thing}", Tier.LITE) for thing in THINGS for verb in ("Price of", "Where is")]
MIXED = [
    (f"Write down why {thing} is even.", tier)
    for thing, tier in zip(THINGS, [Tier.PRO, Tier.FLASH] * 4, strict=True)
]
PROOFS = {
    "name": "proofs",
    "tier": "pro",
    "model": "big",
    "utterances": ["Prove that the sum is even.", "Prove that 2 is prime."],
}
POEMS = {
    "name": "poems",
    "tier": "flash",
    "model": "mid",
    "utterances": ["Write a poem about a dog.", "Write a song about my friend."],
}
MODEL = {"price": {"input": 1, "output": 2}, "context_window": 9000, "timeout_s": 5}


def policy(*routes: dict[str, Any], **more: Any) -> RouterConfig:
    """A policy of some routes."""
    return RouterConfig.model_validate(
        {
            "version": 1,
            "default": "flash",
            "routes": routes or (PROOFS, POEMS),
            "models": {"big": {"tier": "pro", **MODEL}, "mid": {"tier": "flash", **MODEL}},
            **more,
        }
    )


def labelled(*pairs: tuple[str, Tier]) -> Labelled:
    """Prompts and their tiers."""
    return Labelled(
        jobs=tuple(Job(contents=text) for text, _ in pairs),
        tiers=tuple(tier for _, tier in pairs),
        scores=None,
        arms=(),
        sources=("",) * len(pairs),
    )


def fitted(
    config: RouterConfig, *pairs: tuple[str, Tier], method: Method = "platt"
) -> CalibrationFit:
    """What is fitted on the near, the far and the mixed, unless others are given."""
    return fit_calibration(config, labelled(*(pairs or (*NEAR, *FAR, *MIXED))), method=method)


@pytest.mark.parametrize("sparse", [None, "bm25"])
def test_the_fit_is_the_librarys(sparse: str | None) -> None:
    """The same parameters as ``router.fit`` finds on the same prompts."""
    config = policy(semantic={"sparse": sparse})
    found = fitted(config)
    router = SemanticStage(config, PromptRouter(config)._embedder)._routers[""]
    names = {Tier.PRO: "proofs", Tier.FLASH: "poems"}
    pairs = (*NEAR, *FAR, *MIXED)
    report = router.fit([text for text, _ in pairs], [names.get(tier) for _, tier in pairs])
    assert router.calibrator is not None
    for name, (value,) in found.calibration.params.items():
        assert value == pytest.approx(router.calibrator.params[name][0], abs=1e-4)
    assert found.choices == report.n == 40
    assert found.right * 40 == pytest.approx(report.accuracy * 24)  # it leaves out the far


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_probabilities_come_true_more_than_scores(method: Method) -> None:
    """Judged on prompts that each map was not fitted on."""
    found = fitted(policy(), method=method)
    assert found.calibration.method == method
    assert found.error_after < found.error_before
    shares = [bar.sure for bar in found.bars]
    assert shares == sorted(shares, reverse=True)
    assert found.bars[0].sure == 1
    assert found.bars[0].right == pytest.approx(found.right)
    assert found.bars[-1].right > found.right
    assert all(low.threshold < high.threshold for low, high in pairwise(found.bars))


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_what_is_fitted_serves_in_the_file(method: Method) -> None:
    """The stage then says those probabilities, and the next fit starts from them."""
    calibration = fitted(policy(), method=method).calibration
    for values in calibration.params.values():
        assert method == "platt" or list(values) == sorted(values)
    points = list(zip(*calibration.params.values(), strict=True))
    assert len(points) == len(set(points))
    config = policy(semantic={"calibration": calibration.model_dump()})
    (decision,) = PromptRouter(config).route([Job(contents=NEAR[0][0])])
    assert not hasattr(decision, "message")
    again = fitted(config, method=method)
    assert again.calibration == calibration
    assert again.error_before < fitted(policy(), method=method).error_before


def test_utterances_and_ruled_prompts_are_left_out() -> None:
    """One is as near as can be; the other never comes to the stage."""
    utterances = [(text, Tier.PRO) for text in PROOFS["utterances"]]
    rules = [{"name": "cats", "when": {"keywords": ["cat"]}, "tier": "pro"}]
    found = fitted(policy(rules=rules), *NEAR, *FAR, *MIXED, *utterances)
    assert found.remarks == (
        "2 prompts are utterances: left out",
        "5 prompts are decided by rules: left out",
    )
    assert found.choices == 35
    later = policy(rules=rules, stages=["semantic", "rules"])
    assert fitted(later).choices == 40


def test_a_group_is_right_if_it_leads_to_the_tier() -> None:
    """A fork whose routes all lead there says nothing; a prompt goes on inside a group."""
    notes = {**POEMS, "name": "notes", "tier": "pro", "utterances": ["Note that it rains."]}
    text = {"name": "text", "routes": [POEMS, notes]}
    pairs = (*NEAR, *MIXED, *((text, Tier.FLASH) for text, _ in FAR))
    flat = fitted(policy(PROOFS, text), *pairs)
    assert flat == fitted(policy({"name": "all", "routes": [PROOFS, text]}), *pairs)
    assert flat.choices > len(pairs) / 2
    of_pro = [(text, Tier.PRO) for text, _ in pairs]
    with pytest.raises(InputError, match="of 0 prompts"):  # wherever it goes from the root
        fitted(policy({"name": "all", "routes": [PROOFS, notes]}), *of_pro)


def test_a_prompt_that_the_encoder_does_not_know_counts_nothing() -> None:
    """No route takes it, so nobody asks how sure that is."""
    found = fitted(policy(), *NEAR, *FAR, *MIXED, ("\u16a0\u16a1", Tier.PRO))
    assert found.choices == 40


def test_bars_of_scores_are_told() -> None:
    """After the paste they apply to probabilities."""
    told = ("thresholds and margin of the file are of scores: they will apply to probabilities",)
    assert fitted(policy()).remarks == ()
    assert fitted(policy(semantic={"margin": 0.1})).remarks == told
    assert fitted(policy({**PROOFS, "threshold": 0.3}, POEMS)).remarks == told
    calibration = fitted(policy()).calibration.model_dump()
    assert fitted(policy(semantic={"margin": 0.1, "calibration": calibration})).remarks == ()


def test_scores_that_say_nothing_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    """Once, not by the library's log for every fold."""
    swapped = [(text, Tier.LITE) for text, _ in NEAR]
    unsure = [(text, tier) for text, _ in MIXED for tier in (Tier.PRO, Tier.FLASH)] * 2
    found = fitted(policy(), *swapped, *unsure)
    assert found.calibration.params["a"] == (0,)
    assert found.remarks[0].startswith("a higher score is not more often right here")
    assert "WARNING" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("config", "data", "said"),
    [
        (policy(), labelled(*NEAR), "The best route is wrong for 0 of 16 prompts"),
        (policy(), labelled(*FAR), "The best route is right for 0 of 16 prompts"),
        (policy({**PROOFS, "utterances": []}), labelled(*NEAR), "no semantic stage"),
    ],
)
def test_what_cannot_be_fitted_is_said(config: RouterConfig, data: Labelled, said: str) -> None:
    """With the remedy."""
    with pytest.raises(InputError, match=said):
        fit_calibration(config, data, method="platt")


def test_outcomes_are_no_labels_of_routes() -> None:
    """They say how good answers were, not which route is right."""
    import numpy as np

    scores = Labelled((Job(contents="x"),), None, np.ones((1, 1)), ("big",), ("",))
    with pytest.raises(InputError, match='needs a "tier"'):
        fit_calibration(policy(), scores, method="platt")
