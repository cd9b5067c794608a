"""Who may have a chunk in hand beside whom, in the threads of one process."""

from __future__ import annotations

import threading
from typing import cast

import pytest

from promptyard.store import AsyncStore
from promptyard_worker.chunks import Chunk, Chunks
from tests.conftest import wait_until


class Thread:
    """Holds a chunk until it is told to let go."""

    def __init__(self, chunks: Chunks, name: str, *, alone: bool = False) -> None:
        self.has = threading.Event()
        self._done = threading.Event()
        self._chunks = chunks
        self._chunk = Chunk(name, [f"{name}-job"], 5)
        self._alone = alone
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with self._chunks.hold(self._chunk, alone=self._alone):
            self.has.set()
            self._done.wait()

    def let_go(self) -> None:
        """End the block, now or as soon as it begins."""
        self._done.set()

    def join(self) -> None:
        """Wait for the end of it."""
        self._thread.join(5)
        assert not self._thread.is_alive()


@pytest.fixture
def chunks() -> Chunks:
    """Of a process that has nothing in hand."""
    return Chunks(cast("AsyncStore", None), lease_s=20.0)


def renewed(chunks: Chunks) -> list[object]:
    """The jobs whose lease is renewed at second 100."""
    jobs: list[object] = []
    for call in chunks.renewals(100.0):
        pairs = call.args[3:]
        assert set(pairs[::2]) == {120.0}
        jobs += pairs[1::2]
    return jobs


def test_chunks_are_in_hand_beside_each_other(chunks: Chunks) -> None:
    """And all their leases are renewed in one command, until they are done."""
    threads = [Thread(chunks, name) for name in "abc"]
    assert all(thread.has.wait(5) for thread in threads)
    assert sorted(map(str, renewed(chunks))) == ["a-job", "b-job", "c-job"]
    assert len(chunks.renewals(100.0)) == 1
    for thread in threads:
        thread.let_go()
        thread.join()
    assert chunks.renewals(100.0) == []


def test_a_suspect_is_alone(chunks: Chunks) -> None:
    """It waits for what is in hand, and what comes after it waits for it."""
    before = Thread(chunks, "before")
    assert before.has.wait(5)
    suspect = Thread(chunks, "suspect", alone=True)
    wait_until(lambda: chunks._loners == 1, description="it waits")
    after = Thread(chunks, "after")
    other = Thread(chunks, "other", alone=True)
    wait_until(lambda: chunks._loners == 2, description="another waits too")
    assert not any(thread.has.is_set() for thread in (suspect, after, other))
    before.let_go()
    wait_until(lambda: suspect.has.is_set() or other.has.is_set(), description="one's turn")
    assert len(renewed(chunks)) == 1
    assert not after.has.is_set()
    for thread in (before, suspect, other, after):
        thread.let_go()
    for thread in (before, suspect, other, after):
        thread.join()
    assert after.has.is_set()
    assert renewed(chunks) == []


def test_an_error_ends_the_hold(chunks: Chunks) -> None:
    """A suspect that cannot be routed now holds nobody up."""
    with pytest.raises(ZeroDivisionError), chunks.hold(Chunk("a", ["1"], 5), alone=True):
        raise ZeroDivisionError
    with chunks.hold(Chunk("b", ["2"], 5), alone=False):
        assert renewed(chunks) == ["2"]
