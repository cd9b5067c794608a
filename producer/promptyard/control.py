"""What whoever looks after the yard does, once, for both faces: pause, resume, see how it is."""

from __future__ import annotations

import math
from typing import Any, Final

from promptyard.carrier import IO
from promptyard.errors import BatchNotFound, BudgetSpent, SettingsError
from promptyard.names import Tier
from promptyard.store import Call, feedback, fleet, jobs, models, parking, pauses
from promptyard.store.feedback import Kind
from promptyard.store.health import ModelHealth, RouteCounts
from promptyard.store.pauses import Pausing, Resuming, Resumption

#: The smallest amount that is counted.
NANO_USD: Final = 1e-9


class Control:
    """Pause, resume, models and routes over some ``IO``."""

    def __init__(self, io: IO) -> None:
        self._io = io

    async def pause(
        self, batch_id: str | None, *, tier: Tier | str | None, model: str | None
    ) -> bool:
        place = _place(batch_id, tier, model)
        if model is not None:
            await self._expect_model(model)
        verdict = await self._io.do(pauses.pause(place))
        if verdict is Pausing.GONE:
            raise no_such_batch(batch_id or "")
        return verdict is Pausing.PAUSED

    async def resume(
        self,
        batch_id: str | None,
        *,
        tier: Tier | str | None,
        model: str | None,
        max_cost_usd: float | None,
    ) -> bool:
        place = _place(batch_id, tier, model)
        if max_cost_usd is not None and batch_id is None:
            raise SettingsError("Only a batch has a budget: give max_cost_usd with a batch.")
        call = pauses.resume(place, max_cost_usd=checked_cap(max_cost_usd))
        found = await self._io.do(call)
        if found.verdict is Resuming.GONE:
            raise no_such_batch(batch_id or "")
        if found.verdict is Resuming.SPENT:
            raise _spent(batch_id or "", found)
        if found.verdict is Resuming.RUNNING and model is not None:
            await self._expect_model(model)
        return found.verdict is Resuming.RESUMED

    async def models(self) -> list[ModelHealth]:
        catalog = await self._io.do(fleet.catalog())
        if catalog is None:
            return []
        now_s = await self._io.do(jobs.time_s())
        paused = await self._io.do(pauses.paused_places())
        asked = {name: models.questions(name) for name in catalog.models}
        calls: list[Call[Any]] = [call for own in asked.values() for call in own]
        answers = iter(await self._io.do_many(calls))
        return [
            models.health(
                name,
                catalog.models[name].tier,
                [next(answers) for _ in own],
                paused=paused,
                now_s=now_s,
            )
            for name, own in asked.items()
        ]

    async def routes(self) -> list[RouteCounts]:
        counts = await self._io.do(feedback.counts())
        return [
            RouteCounts(
                name=name,
                answers=found.get(Kind.ANSWERS, 0),
                repairs=found.get(Kind.REPAIRS, 0),
                escalations=found.get(Kind.ESCALATIONS, 0),
            )
            for name, found in sorted(counts.items())
        ]

    async def _expect_model(self, name: str) -> None:
        """A wrong name must not pass for a pause."""
        catalog = await self._io.do(fleet.catalog())
        if catalog is not None and name not in catalog.models:
            raise SettingsError(
                f"There is no model {name!r}: the workers know {', '.join(catalog.models)}."
            )


def checked_cap(max_cost_usd: float | None) -> float | None:
    """The cap on a batch's cost, if it is one.

    Raises:
        SettingsError: it is not an amount.
    """
    if max_cost_usd is None or (math.isfinite(max_cost_usd) and max_cost_usd > 0):
        return max_cost_usd
    raise SettingsError(f"max_cost_usd {max_cost_usd:g}: give US dollars, more than 0.")


def no_such_batch(batch_id: str) -> BatchNotFound:
    """The error of a batch id without a record."""
    return BatchNotFound(
        f"No batch {batch_id}: the id is wrong, or its retention has passed. "
        f"`promptyard status` lists the batches there are."
    )


def _place(batch_id: str | None, tier: Tier | str | None, model: str | None) -> str:
    places = [
        *([parking.batch_place(batch_id)] if batch_id is not None else []),
        *([parking.tier_place(_tier(tier))] if tier is not None else []),
        *([parking.model_place(model)] if model is not None else []),
    ]
    if len(places) != 1:
        raise SettingsError("Name one thing: a batch, a tier, or a model.")
    return places[0]


def _tier(name: Tier | str) -> Tier:
    try:
        return Tier(name)
    except ValueError:
        raise SettingsError(f"There is no tier {name!r}: use {', '.join(Tier)}.") from None


def _spent(batch_id: str, found: Resumption) -> BudgetSpent:
    least_usd = found.spent_usd + max(found.short_usd, NANO_USD)
    may_cost = f", and its next call may cost {exact_dollars(found.short_usd)}"
    return BudgetSpent(
        f"Batch {batch_id} has spent {exact_dollars(found.spent_usd)}"
        f"{may_cost if found.short_usd else ''}: a cap of {exact_dollars(found.max_cost_usd)} "
        f"leaves no room for it. Give at least {exact_dollars(least_usd)} "
        "(max_cost_usd, --max-cost-usd).",
        batch_id=batch_id,
        spent_usd=found.spent_usd,
        least_usd=least_usd,
    )


def exact_dollars(amount_usd: float) -> str:
    """An amount to the last digit that counts: what is given must not be too little."""
    whole, _, rest = f"{amount_usd:.9f}".partition(".")
    return f"${whole}.{rest.rstrip('0'):0<2}"
