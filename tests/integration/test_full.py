"""A Redis that has reached its maxmemory: new work is refused whole, what is in goes on."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path

import pytest
import redis
from typer.testing import CliRunner

from promptyard.async_producer import AsyncProducer
from promptyard.batch import Batch
from promptyard.cli.app import build_app
from promptyard.errors import SettingsError, StoreFull, SubmitError, SubmitFull
from promptyard.job import Job, JobState
from promptyard.names import Tier
from promptyard.producer import Producer
from promptyard.store import Store, batches, feedback, jobs, keys, running
from promptyard.store.faces import DENIED_WHEN_FULL
from promptyard.store.records import Ending
from promptyard.store.running import Release, Why
from promptyard.store.scripts import REFUSED_WHEN_FULL, script
from tests.conftest import wait_until
from tests.integration.test_store import (
    POISON,
    RETENTION_S,
    claimed,
    in_hand,
    lapse,
    recorded,
    requeue,
    routed,
)
from tests.memory import full, leave_room

LUA = files("promptyard.store") / "lua"
SCRIPTS = sorted(
    path.name.removesuffix(".lua") for path in LUA.iterdir() if "ARGV" in path.read_text()
)


@pytest.fixture(autouse=True)
def _no_limit_afterwards(raw: redis.Redis) -> Iterator[None]:
    yield
    raw.config_set("maxmemory", 0)


def contents(raw: redis.Redis) -> dict[bytes, bytes | None]:
    """Every key of the database and what it holds."""
    return {key: raw.dump(key) for key in raw.scan_iter()}


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_script_says_whether_it_may_go_over_the_limit(name: str) -> None:
    """Just what brings new work in is refused, and no other script."""
    first_line = script(name).text.partition("\n")[0]
    assert first_line == ("#!lua" if name in REFUSED_WHEN_FULL else "#!lua flags=allow-oom")


def test_a_refused_submit_writes_nothing_at_all(producer: Producer, raw: redis.Redis) -> None:
    """Neither record nor message nor counter nor key: as if it had not been tried."""
    producer.submit_batch([Job(id=f"j{n}", contents="x") for n in range(3)], batch_id="b")
    before = contents(raw)
    with full(raw):
        with pytest.raises(StoreFull):
            producer.submit(Job(contents="y", idempotency_key="k", tier=Tier.PRO))
        with pytest.raises(StoreFull):
            producer.submit("y", batch_id="b")
        with pytest.raises(StoreFull):
            producer.open_batch(identity="file", metadata={"a": "b"})
        with pytest.raises(SubmitFull) as caught:
            producer.submit_batch(["y", "z"], batch_id="b")
        assert contents(raw) == before
    assert (caught.value.batch_id, caught.value.submitted) == ("b", 0)


def test_the_error_says_how_full_it_is_and_what_to_do(producer: Producer, raw: redis.Redis) -> None:
    """Both numbers, three remedies; it is an error of the store and of the submit."""
    with full(raw), pytest.raises(SubmitFull) as caught:
        producer.submit_batch(["x"])
    said = str(caught.value)
    assert re.search(r"is full: [\d.]+ MB used of [\d.]+ MB\.", said)
    assert "Raise its maxmemory, or let finished batches expire" in said
    assert 'when_full="wait"' in said
    assert isinstance(caught.value, StoreFull)
    assert isinstance(caught.value, SubmitError)
    with pytest.raises(SettingsError, match="'perhaps'"):
        producer.submit("x", when_full="perhaps")  # type: ignore[arg-type]


def test_what_is_in_goes_on_over_the_limit(
    store: Store, producer: Producer, raw: redis.Redis
) -> None:
    """Route, claim, renew, release, requeue, record, cancel, seal: none is refused."""
    ids = [f"j{n}" for n in range(6)]
    producer.submit_batch([Job(id=job_id, contents="x") for job_id in ids], batch_id="b")
    with full(raw):
        assert [routed(store, job_id) for job_id in ids[:5]] == [1] * 5
        taken = [claimed(store, job_id) for job_id in ids[:4]]
        assert [claim.verdict for claim, _ in taken] == ["run"] * 4
        tokens = [token for _, token in taken]
        assert recorded(store, ids[0], tokens[0])
        again = Release(tier=Tier.LITE, model="gemini-2.5-flash-lite", why=Why.RETRY, send=True)
        assert store.do(running.release(ids[1], tokens[1], again, priority=5))
        parked = Release(tier=Tier.LITE, model="gemini-2.5-flash-lite", place="tier:lite")
        assert store.do(running.release(ids[2], tokens[2], parked, priority=5))
        lapse(store, ids[3])
        assert raw.zscore(keys.LEASES, ids[3]) == 1
        assert store.do(requeue(ids[3])) == 1
        assert store.do(jobs.reject(ids[5], Ending(error=POISON.error), retention_s=RETENTION_S))
        assert producer.redeliver("b") == 3
        assert producer.cancel("b") == 4
        assert store.do(batches.seal("b", retention_s=RETENTION_S))
        status = producer.status("b")
    ended = {state: count for state, count in status.counts.items() if count}
    assert ended == {JobState.SUCCEEDED: 1, JobState.FAILED: 1, JobState.CANCELLED: 4}
    assert sum(1 for _ in producer.results("b")) == 6


def test_plain_commands_go_through_too(store: Store, raw: redis.Redis) -> None:
    """What a worker says every few seconds: a lease that is not renewed is a job called twice."""
    job_id, _ = in_hand(store)
    with full(raw):
        assert store.do(running.renew([job_id], 2e9)) == 0  # moved, none added
        assert store.do(feedback.add("lite", feedback.Kind.ANSWERS, 1)) == 1
    assert raw.zscore(keys.LEASES, job_id) == 2e9


def test_no_command_that_a_full_redis_refuses_is_forgotten(raw: redis.Redis) -> None:
    """Redis itself says which of the commands in our Calls it would refuse."""
    sources = [path.read_text() for path in files("promptyard.store").iterdir() if path.is_file()]
    used = {name for text in sources for name in re.findall(r'Call\(\s*"([A-Z]+)"', text)}
    assert "ZADD" in used
    told = raw.command()
    refused = {name for name in used if "denyoom" in told[name.lower()]["flags"]}
    assert refused == DENIED_WHEN_FULL


def blocking(url: str, work: Sequence[Job]) -> Batch:
    """Submit and wait for room, by the blocking face."""
    with Producer(url) as face:
        return face.submit_batch(work, batch_id="b", when_full="wait")


def awaiting(url: str, work: Sequence[Job]) -> Batch:
    """The same by the awaiting face."""

    async def scenario() -> Batch:
        async with AsyncProducer(url) as face:
            return await face.submit_batch(work, batch_id="b", when_full="wait")

    return asyncio.run(scenario())


@pytest.mark.parametrize("submit", [blocking, awaiting])
def test_a_submit_that_waits_goes_on_where_it_stopped(
    submit: Callable[[str, Sequence[Job]], Batch],
    redis_url: str,
    raw: redis.Redis,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It says once that it waits, and afterwards every job is in and announced once."""
    work = [Job(contents=f"{n} " + "x" * 900) for n in range(2000)]
    leave_room(raw, 1_500_000)
    with ThreadPoolExecutor() as pool:
        waiting_submit = pool.submit(submit, redis_url, work)
        wait_until(lambda: "Waiting for room" in caplog.text, description="it says that it waits")
        assert 0 < int(raw.hget(keys.batch("b"), "total") or 0) < len(work)
        raw.config_set("maxmemory", 0)
        batch = waiting_submit.result()
    assert (batch.submitted, batch.existing) == (len(work), 0)
    assert raw.hget(keys.batch("b"), "total") == b"2000"
    assert sorted(announced(raw)) == sorted(job.id for job in work)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def announced(raw: redis.Redis) -> list[str]:
    """The job ids in the classify messages."""
    envelopes = [json.loads(text) for text in raw.lrange(keys.queue("classify", 5), 0, -1)]
    bodies = [json.loads(base64.b64decode(envelope["body"])) for envelope in envelopes]
    return [job_id for arguments, *_ in bodies for job_id in arguments[0]]


def test_the_command_line_waits_and_can_be_stopped(
    redis_url: str, raw: redis.Redis, tmp_path: Path
) -> None:
    """ctrl-C ends the wait; without --wait-when-full it is an error; with room all is in."""
    file = tmp_path / "in.jsonl"
    file.write_text("".join(f'{{"prompt": "prompt {n}"}}\n' for n in range(100)))
    line = [sys.executable, "-m", "promptyard", "submit", str(file), "--redis-url", redis_url]
    with full(raw):
        refused = subprocess.run(line, capture_output=True, text=True, check=False)
        assert refused.returncode == StoreFull.exit_code
        assert refused.stderr.startswith("promptyard: Redis at ")
        said = tmp_path / "stderr"
        with said.open("w") as log:
            one = subprocess.Popen([*line, "--wait-when-full"], stderr=log)
        try:
            wait_until(lambda: "Waiting for room." in said.read_text(), description="it waits")
            one.send_signal(signal.SIGINT)
            one.wait(20)
        finally:
            one.kill()
        assert one.returncode == 130
    assert said.read_text().count("Waiting") == 1
    done = subprocess.run([*line, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["submitted"] == 100


def test_a_run_that_comes_to_the_limit_ends_at_once(
    redis_url: str, raw: redis.Redis, tmp_path: Path
) -> None:
    """It does not wait a minute, as for a Redis that is away; the error says what is in."""
    file = tmp_path / "in.jsonl"
    file.write_text("".join(f'{{"prompt": "{n} {"x" * 900}"}}\n' for n in range(4000)))
    leave_room(raw, 1_500_000)
    line = ["run", str(file), "-o", str(tmp_path / "out"), "--redis-url", redis_url, "--quiet"]
    began_s = time.monotonic()
    done = CliRunner().invoke(build_app(), line)
    assert time.monotonic() - began_s < 30
    assert done.exit_code == StoreFull.exit_code
    assert "is full" in done.stderr
    assert re.search(r"The first [\d,]+ jobs of batch .* are in", done.stderr)
