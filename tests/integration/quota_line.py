"""Jobs in hand, and what they ask of the shared quota; for the tests of the quota."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from promptyard.job import Job
from promptyard.names import CLASSIFY_CHUNK, Tier
from promptyard.store import Store, jobs, keys, quota, running
from promptyard.store.call import Call
from promptyard.store.quota import Ask, Limits, Reply, Settlement, Verdict

MODEL = "gemini-2.5-flash-lite"
#: Google's minute, and ours: longer by the safety.
MINUTE_S = 60.0
WINDOW_S = 60.6
RETENTION_S = 3600.0


def limits(*, window_s: float = WINDOW_S, **of: int) -> Limits:
    """Limits of the model; none but those given."""
    return Limits(model=MODEL, window_s=window_s, **of)


@dataclass
class Line:
    """Workers' view of the quota of one model."""

    store: Store
    limits: Limits
    spread_s: float = 0.0
    lease_s: float = 20.0
    #: When the day ends; far away unless a test is about days.
    day_reset_s: float = 9e9

    def new_asks(self, tokens: Sequence[int] = (1,), **of: Any) -> list[Ask]:
        """Asks of new jobs in a worker's hands; ``of`` as ``Job`` takes it."""
        batch_id = of.pop("batch_id", None)
        new = [Job(contents="x", tier=Tier.LITE, **of) for _ in tokens]
        chunks = [new[n : n + CLASSIFY_CHUNK] for n in range(0, len(new), CLASSIFY_CHUNK)]
        self.store.do_many(
            [jobs.submit(chunk, batch_id=batch_id, retention_s=RETENTION_S) for chunk in chunks]
        )
        tokens_of = zip(new, self.claim([job.id for job in new]), tokens, strict=True)
        return [Ask(job.id, token, size, 0.001) for job, token, size in tokens_of]

    def claim(self, job_ids: Sequence[str]) -> list[str]:
        """Take the leases of jobs; gives their tokens."""
        tokens = [uuid.uuid4().hex for _ in job_ids]
        found = self.store.do_many(
            [
                running.claim(job_id, token, lease_s=60, retention_s=RETENTION_S)
                for job_id, token in zip(job_ids, tokens, strict=True)
            ]
        )
        assert {claim.verdict for claim in found} <= {"run"}
        return tokens

    def question(self, asks: Sequence[Ask], process: str = "one") -> Call[list[Reply]]:
        """The call that asks."""
        return quota.admit(
            self.limits,
            asks,
            process=process,
            lease_s=self.lease_s,
            retention_s=RETENTION_S,
            spread_s=self.spread_s,
            day_reset_s=self.day_reset_s,
            probe_s=30.0,
        )

    def ask(self, *asks: Ask, process: str = "one") -> list[Reply]:
        """Put asks; replies up to the first that has to wait."""
        return self.store.do(self.question(asks, process))

    def timed(self, asks: Sequence[Ask], process: str = "one") -> list[tuple[float, Reply]]:
        """As ``ask``, each reply with the moment of its call (Redis' clock)."""
        call = self.question(asks, process)

        def decode(raw: Any) -> list[tuple[float, Reply]]:
            return [(float(raw[0]) + reply.wait_s, reply) for reply in call.decode(raw)]

        return self.store.do(replace(call, decode=decode))  # type: ignore[arg-type]

    def one(self, tokens: int = 1, *, process: str = "one", **of: Any) -> tuple[Ask, Reply]:
        """A new job's ask and its reply."""
        (ask,) = self.new_asks([tokens], **of)
        return ask, self.ask(ask, process=process)[0]

    def settle(self, ask: Ask, reply: Reply, tokens: int | str | None = None) -> int:
        """End a grant."""
        return self.store.do(
            quota.settle(self.limits, [Settlement(ask.job_id, reply.ticket, tokens)])
        )

    def refuse(
        self,
        reply: Reply,
        *,
        kind: str = "rpm",
        retry_after_s: float | None = None,
        random: float = 1,
    ) -> float:
        """Tell of a 429 on a grant; gives how long all wait."""
        until_s = self.store.do(
            quota.refuse(
                self.limits,
                kind=kind,
                ticket=reply.ticket,
                retry_after_s=retry_after_s,
                random=random,
            )
        )
        return until_s - self.now_s()

    def now_s(self) -> float:
        """Redis' time."""
        return self.store.do(jobs.time_s())

    def use(self) -> dict[str, float]:
        """The numbers that the scripts keep."""
        return self.store.do(quota.usage(MODEL))

    def let_pass(self, *, seconds: float) -> None:
        """Let time pass. Redis' clock cannot be set, so all that was granted moves back.

        Whole buckets of a tenth of a second.
        """
        buckets, key, client = round(seconds * 10), keys.quota(MODEL), self.store.redis
        for name, number in self.use().items():
            if name in ("old", "tail", "last"):
                client.hset(key, name, str(number - buckets))
            elif name in ("next", "blocked", "cut", "grown", "day_reset"):
                client.hset(key, name, repr(number - seconds))
        log = {_text(field): _text(count) for field, count in client.hgetall(f"{key}:log").items()}
        client.delete(f"{key}:log")
        for field, count in log.items():
            client.hset(f"{key}:log", f"{field[0]}{int(field[1:]) - buckets}", count)
            client.expire(f"{key}:log", 600)
        for job in client.scan_iter(keys.job("*")):
            if grant := client.hget(job, "grant"):
                token, ticket = _text(grant).split()
                bucket, rest = ticket.split(":", 1)
                client.hset(job, "grant", f"{token} {int(bucket) - buckets}:{rest}")

    def grants(
        self, asks: Sequence[Ask], *, group: Callable[[], int], processes: int = 1
    ) -> Iterator[tuple[float, Ask, Reply]]:
        """Let processes ask in turn, in groups; gives every grant, with the moment of its call.

        A grant for later reserves its place at once, so nothing here has to wait for it.
        """
        left = list(asks)
        turn = 0
        while left:
            replies = self.timed(left[: group()], f"p{turn % processes}")
            for at_s, reply in replies:
                assert reply.verdict in (Verdict.GO, Verdict.AT), reply
                yield at_s, left.pop(0), reply
            turn += 1


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
