"""joined: several labelled sets as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from promptyard.errors import InputError
from promptyard.job import Job
from promptyard.names import Tier
from promptyard_worker.routing.labelled import Labelled, content_key, joined

PRO, FLASH, LITE = Tier


def tiered(name: str, *tiers: Tier) -> Labelled:
    """Prompts with tiers, from one source, and a line that could not be used."""
    jobs = tuple(Job(contents=f"{name} {number}") for number in range(len(tiers)))
    return Labelled(jobs, tiers, None, (), (name,) * len(tiers), (f"{name}:9: no label.",))


def scored(name: str, arms: Sequence[str], *rows: Sequence[float]) -> Labelled:
    """Prompts with scores."""
    jobs = tuple(Job(contents=f"{name} {number}") for number in range(len(rows)))
    return Labelled(jobs, None, np.array(rows, dtype=float), tuple(arms), (name,) * len(rows))


def texts(labelled: Labelled) -> list[str]:
    """The prompts."""
    return [job.text for job in labelled.jobs]


def test_one_set_is_itself() -> None:
    """Nothing is copied."""
    alone = tiered("a", PRO)
    assert joined([alone]) is alone


def test_tiers_follow_each_other() -> None:
    """Prompts, labels, sources and problems, in the order of the sets."""
    found = joined([tiered("a", PRO, LITE), tiered("b", FLASH), tiered("a", PRO)])
    assert texts(found) == ["a 0", "a 1", "b 0", "a 0"]
    assert found.tiers == (PRO, LITE, FLASH, PRO)
    assert found.sources == ("a", "a", "b", "a")
    assert found.problems == ("a:9: no label.", "b:9: no label.", "a:9: no label.")
    assert (found.scores, found.arms) == (None, ())


def test_scores_come_under_the_arms_of_all() -> None:
    """In the order in which they first come; NaN where a set has not tried one."""
    nan = float("nan")
    found = joined(
        [scored("a", ["big", "small"], [1, 0.5]), scored("b", ["new", "big"], [0.2, 0.9], [0, nan])]
    )
    assert found.arms == ("big", "small", "new")
    assert found.scores is not None
    np.testing.assert_array_equal(found.scores, [[1, 0.5, nan], [0.9, nan, 0.2], [nan, nan, 0]])
    assert found.tiers is None
    assert texts(found.complete()) == []


def test_scores_of_one_kind_stay_complete() -> None:
    """The order of the arms in a file does not matter."""
    found = joined([scored("a", ["big", "small"], [1, 0.5]), scored("b", ["small", "big"], [0, 1])])
    assert found.scores is not None
    assert found.scores.tolist() == [[1, 0.5], [1, 0]]
    assert len(found.complete()) == 2


@pytest.mark.parametrize("turned", [False, True])
def test_two_kinds_of_labels_are_no_set(turned: bool) -> None:
    """Whichever comes first."""
    parts = [tiered("a", PRO), scored("b", ["big"], [1])]
    with pytest.raises(InputError, match="labelled by tier and some by scores: fit them apart"):
        joined(parts[::-1] if turned else parts)


def test_prompts_that_ask_the_same_have_one_key() -> None:
    """Whatever their names, lines and metadata."""
    one = Job(contents="Hello.", custom_id="a", line=1, metadata={"team": "x"})
    other = Job(contents="Hello.", custom_id="b", line=7)
    assert content_key(one) == content_key(other)
    told = Job(contents="Hello.", system_instruction="Be brief.")
    assert len({content_key(job) for job in (one, told, Job(contents="Hello!"))}) == 3
