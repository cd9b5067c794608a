"""Dead letters: jobs that failed, listed and put back; the part of the core that knows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from operator import attrgetter
from typing import Final

from promptyard.carrier import IO
from promptyard.control import no_such_batch
from promptyard.errors import SettingsError
from promptyard.job import ErrorType, JobResult, JobState
from promptyard.settings import Settings
from promptyard.store import Call, batches, fleet, jobs
from promptyard.store import dead_letters as letters
from promptyard.store.dead_letters import Letter, Revival
from promptyard.windows import chunked

#: Failed jobs looked at in one step.
PAGE: Final = 200
#: Batches that are recent.
RECENT: Final = 50
#: The place of jobs that belong to no batch.
NO_BATCH: Final = ""


class DeadLetters:
    """The failed jobs of a batch, or of all."""

    def __init__(self, io: IO, settings: Settings) -> None:
        self._io = io
        self._retention_s = settings.retention_s

    async def failed(self, batch_id: str | None) -> AsyncIterator[JobResult]:
        """Results of the failed jobs of a batch, or of recent batches and of no batch."""
        if batch_id is None:
            places = [*await self._io.do(batches.batch_ids(RECENT)), NO_BATCH]
        else:
            await self._find(batch_id)
            places = [batch_id]
        for place in places:
            async for ids in self._pages(place):
                for result in await self._io.do_many([jobs.job_result(job_id) for job_id in ids]):
                    # None: put back meanwhile, or its retention has passed
                    if result is not None and result.status is JobState.FAILED:
                        yield result

    async def retry(
        self,
        batch_id: str,
        *,
        error_type: str | Iterable[str] | None,
        model: str | Iterable[str] | None,
    ) -> int:
        """Put back the failed jobs of a batch that have one of the error types and models.

        Raises:
            BatchNotFound: no such batch.
            SettingsError: there is no such error type or model; nothing was put back.
        """
        error_types, models = _names(error_type), _names(model)
        await self._find(batch_id)
        await self._check(batch_id, error_types, models)
        count = 0
        async for page in self._letters(batch_id):
            wanted = [
                letter
                for letter in page
                if (not error_types or letter.error_type in error_types)
                and (not models or letter.model in models)
            ]
            count += await self._revive(wanted)
        return count

    async def retry_job(self, job_id: str) -> bool:
        """Put back one job; False if it has not failed or there is none."""
        letter = await self._io.do(letters.letter(job_id))
        return letter is not None and await self._revive([letter]) == 1

    async def _find(self, batch_id: str) -> None:
        if await self._io.do(batches.batch_status(batch_id)) is None:
            raise no_such_batch(batch_id)

    async def _revive(self, wanted: Sequence[Letter]) -> int:
        known = [_place(letter) for letter in wanted if letter.decision is not None]
        asked = [letters.own_place(letter) for letter in wanted if letter.decision is None]
        revivals = known + await self._io.do_many(asked)
        calls: list[Call[int]] = [
            letters.revive(chunk, retention_s=self._retention_s)
            for chunk in chunked(sorted(revivals, key=attrgetter("priority")))
        ]
        return sum(await self._io.do_many(calls), 0)

    async def _letters(self, batch_id: str) -> AsyncIterator[list[Letter]]:
        async for ids in self._pages(batch_id):
            found = await self._io.do_many([letters.letter(job_id) for job_id in ids])
            yield [letter for letter in found if letter is not None]

    async def _pages(self, batch_id: str) -> AsyncIterator[list[str]]:
        """Ids of the jobs that have failed by now; those that fail meanwhile come next time."""
        until_s = await self._io.do(jobs.time_s())
        since_s, seen = float("-inf"), frozenset[str]()
        while True:
            # members come and go meanwhile, so a page begins at a time and not at a rank
            limit = PAGE + len(seen)
            found = await self._io.do(letters.dead_ids(batch_id, since_s, until_s, limit=limit))
            if new := [job_id for job_id, _ in found if job_id not in seen]:
                yield new
            if len(found) < limit:
                return
            since_s = found[-1][1]
            seen = frozenset(job_id for job_id, at_s in found if at_s == since_s)

    async def _check(
        self, batch_id: str, error_types: Sequence[str], models: Sequence[str]
    ) -> None:
        strange = [f"error type {name!r}" for name in error_types if name not in set(ErrorType)]
        catalog = await self._io.do(fleet.catalog())
        unknown = [name for name in models if catalog is None or name not in catalog.models]
        if not strange and not unknown:
            return
        by_type, by_model = Counter[str](), Counter[str]()
        async for page in self._letters(batch_id):
            by_type.update(letter.error_type or "unreadable" for letter in page)
            by_model.update(letter.model for letter in page if letter.model)
        # a model that failed them may have left the router file since
        strange += [f"model {name!r}" for name in unknown if name not in by_model]
        if strange:
            raise SettingsError(
                f"There is no {' and no '.join(strange)}. Failed jobs of batch {batch_id}: "
                f"by type {_counts(by_type)}; by model {_counts(by_model)}."
            )


def _names(given: str | Iterable[str] | None) -> list[str]:
    """One name, several, or none."""
    if given is None:
        return []
    return [given] if isinstance(given, str) else list(given)


def _place(letter: Letter) -> Revival:
    """Where the decision sent it first, whatever models it has seen since."""
    if letter.decision is None:
        return Revival(letter=letter)
    return Revival(letter=letter, tier=letter.decision.tier, model=letter.decision.model)


def _counts(found: Counter[str]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in found.most_common()) or "none"
