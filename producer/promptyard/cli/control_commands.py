"""``promptyard pause``, ``resume`` and ``cancel``."""

from __future__ import annotations

from typing import Annotated

import typer

from promptyard.cli.options import AsJson, BatchId, MaxCostUsd, RedisUrl, connect, print_json

OneBatch = Annotated[str | None, typer.Argument(metavar="[BATCH]", help="Batch id.")]
OneTier = Annotated[str | None, typer.Option("--tier", help="pro, flash or lite.")]
OneModel = Annotated[str | None, typer.Option("--model", help="As the router file names it.")]


def pause(
    batch: OneBatch = None,
    tier: OneTier = None,
    model: OneModel = None,
    as_json: AsJson = False,
    redis_url: RedisUrl = None,
) -> None:
    """Make no more calls for a batch, a tier or a model, until it is resumed.

    Calls in flight end as they will. A pause outlasts restarts.
    """
    with connect(redis_url) as producer:
        changed = producer.pause(batch, tier=tier, model=model)
    _say(batch, tier, model, "paused", changed=changed, as_json=as_json)


def resume(
    batch: OneBatch = None,
    tier: OneTier = None,
    model: OneModel = None,
    max_cost_usd: MaxCostUsd = None,
    as_json: AsJson = False,
    redis_url: RedisUrl = None,
) -> None:
    """End a pause; a batch that has spent its budget needs a higher one."""
    with connect(redis_url) as producer:
        changed = producer.resume(batch, tier=tier, model=model, max_cost_usd=max_cost_usd)
    _say(batch, tier, model, "resumed", changed=changed, as_json=as_json)


def cancel(
    batch: BatchId,
    keep_running: Annotated[
        bool, typer.Option("--keep-running", help="Let calls in flight end as they will.")
    ] = False,
    as_json: AsJson = False,
    redis_url: RedisUrl = None,
) -> None:
    """Cancel every job of a batch that has not ended."""
    from promptyard.cli.words import count

    with connect(redis_url) as producer:
        cancelled = producer.cancel(batch, keep_running=keep_running)
    if as_json:
        print_json({"batch_id": batch, "cancelled": cancelled})
    else:
        typer.echo(f"{count(cancelled, 'job')} cancelled")


def _say(
    batch: str | None,
    tier: str | None,
    model: str | None,
    done: str,
    *,
    changed: bool,
    as_json: bool,
) -> None:
    named = {"batch_id": batch, "tier": tier, "model": model}
    if as_json:
        print_json({**{kind: name for kind, name in named.items() if name}, done: changed})
        return
    (what,) = (f"{kind.removesuffix('_id')} {name}" for kind, name in named.items() if name)
    before = {"paused": "was paused already", "resumed": "was not paused"}[done]
    typer.echo(f"{what} {done if changed else before}")
