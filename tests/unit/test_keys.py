"""Key names: those of the scripts are those of keys.py, and none holds what is private."""

from __future__ import annotations

from importlib.resources import files

import redis

from promptyard.names import KEY_PREFIX
from promptyard.store import keys

LIBRARY = (files("promptyard.store") / "lua" / "lib.lua").read_text()


def test_the_scripts_use_the_same_names(raw: redis.Redis) -> None:
    """Lua and Python build every key alike: asked of a real server."""
    ask = (
        "return { LEASES, TAKEN, job_key(ARGV[1]), batch_key(ARGV[1]), batch_jobs_key(ARGV[1]), "
        "batch_results_key(ARGV[1]), done_channel(ARGV[1]), waiting_key('pro', '5'), "
        "dead_key(ARGV[1]), PARKED, PAUSED, parked_key(ARGV[1]) }"
    )
    found = raw.eval(f"{LIBRARY}\n{ask}", 0, "x:1")
    assert found == [
        name.encode()
        for name in (
            keys.LEASES,
            keys.TAKEN,
            keys.job("x:1"),
            keys.batch("x:1"),
            keys.batch_jobs("x:1"),
            keys.batch_results("x:1"),
            keys.done_channel("x:1"),
            keys.waiting("pro", 5),
            keys.dead_letters("x:1"),
            keys.PARKED,
            keys.PAUSED,
            keys.parked("x:1"),
        )
    ]


def test_every_key_of_ours_has_the_prefix() -> None:
    """So that a shared Redis can tell whose they are."""
    names = [keys.LEASES, keys.TAKEN, keys.BATCHES, keys.CATALOG, keys.WORKERS]
    names += [
        build("x")
        for build in (
            keys.job,
            keys.batch,
            keys.batch_jobs,
            keys.batch_results,
            keys.dead_letters,
            keys.done_channel,
            keys.idempotency,
            keys.identity,
        )
    ]
    assert all(name.startswith(f"{KEY_PREFIX}:") for name in names)
    assert len(set(names)) == len(names)


def test_private_words_are_hashed() -> None:
    """An idempotency key or identity may be a name or an address: it is not in the key."""
    for build in (keys.idempotency, keys.identity):
        assert "ada@example.com" not in build("ada@example.com")
        assert build("a") != build("b")
        assert len(build("x" * 10_000)) < 100


def test_what_is_permanent_has_a_reason() -> None:
    """A key may lack a TTL only with words to it."""
    assert all(reason.strip() for reason in keys.PERMANENT.values())


def test_a_queues_priorities_are_lists_of_their_own() -> None:
    """Priority 0 is the plain name, as kombu has it."""
    names = [keys.queue("pro", level) for level in range(10)]
    assert names[0] == "pro"
    assert len(set(names)) == 10
