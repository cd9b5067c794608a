"""A worker process from start to stop: builds the station, shows the worker is there."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import Any, Final

from celery import bootsteps, signals

import promptyard
from promptyard.errors import PromptyardError, StoreError
from promptyard.names import CLASSIFY_QUEUE, QUEUES
from promptyard.settings import Settings
from promptyard.store import fleet, jobs
from promptyard.store.presence import WorkerCard
from promptyard_worker.celery_app import VISIBILITY_TIMEOUT_S, app
from promptyard_worker.drain import drain, drain_s
from promptyard_worker.events import GatherEvents
from promptyard_worker.hangup import Hangup
from promptyard_worker.observe.serving import serve_metrics
from promptyard_worker.recovery import keep
from promptyard_worker.refusals import MALFORMED, message_refused
from promptyard_worker.station import Station
from promptyard_worker.valve import Valve
from promptyard_worker.watchdog import Watchdog

log = logging.getLogger(__name__)

#: Cards are stale after 15 s (promptyard.store.presence).
HEARTBEAT_S: Final = 4.0

_station: Station | None = None
_hangup: Hangup | None = None
_card: WorkerCard | None = None


def station() -> Station:
    """The station of this process."""
    if _station is None:
        raise RuntimeError("no station: tasks run in a Promptyard worker only")
    return _station


@signals.worker_init.connect
def _open(sender: Any, **_: Any) -> None:
    """Read the router file and build what the queues need before the first message comes."""
    try:
        _build(sender)
    # Celery logs and swallows what its signals raise; a worker that cannot work must end
    except PromptyardError as error:
        sys.stderr.write(f"promptyard worker: {error}\n")
        raise SystemExit(error.exit_code) from error
    except Exception as error:
        traceback.print_exc()
        raise SystemExit(1) from error


def _build(sender: Any) -> None:
    global _station, _hangup
    redis_url = sender.app.conf.broker_url
    queues = {str(name) for name in sender.app.amqp.queues.consume_from}
    here = _station = Station(
        redis_url,
        Settings.from_env(),
        concurrency=sender.concurrency,
        routes=CLASSIFY_QUEUE in queues,
    )
    if queues - {CLASSIFY_QUEUE}:
        _ = here.client  # no key: better now than with the first job
    serve_metrics(here.settings, here.observer.metrics)
    here.policies.start()
    _hangup = Hangup(here.policies.ask)
    _hangup.install()


class _TakeHangup(bootsteps.StartStopStep):
    """Celery has SIGHUP start the program again, or the terminal kill it; not ours.

    It takes the signal over after ``worker_init``; steps start after that, before the consumer.
    """

    def start(self, parent: Any) -> None:  # noqa: ARG002
        if _hangup is not None:
            _hangup.install()


app.steps["worker"].add(_TakeHangup)
app.steps["consumer"].add(GatherEvents)


@signals.worker_ready.connect
def _announce(sender: Any, **_: Any) -> None:
    """Show the worker, and start keeping its leases."""
    global _card
    here, worker = station(), sender.controller
    now = datetime.now(UTC)
    _card = WorkerCard(
        name=worker.hostname,
        queues=tuple(str(name) for name in worker.app.amqp.queues.consume_from),
        concurrency=worker.concurrency,
        pid=os.getpid(),
        host=socket.gethostname(),
        version=promptyard.__version__,
        policy_version=here.policy.version,
        started=now,
        seen=now,
        visibility_timeout_s=VISIBILITY_TIMEOUT_S,
    )
    lease_s = here.settings.lease_s
    here.loop.start(keep(here.async_store, lease_s=lease_s, clock=here.clock, beat=here.beat))
    here.loop.start(here.caretaker().tend())
    here.loop.start(_heartbeat(here, _card))
    patience_s = here.settings.watchdog_s
    watchdog = Watchdog(here.async_store, queues=_card.queues, patience_s=patience_s)
    here.loop.start(watchdog.watch())
    if len(_card.queues) > 1:
        valve = Valve(sender, here.limiter, queues=_card.queues, slots=worker.concurrency)
        here.loop.start(valve.watch())


async def _heartbeat(here: Station, card: WorkerCard) -> None:
    while True:
        try:
            # Redis' clock: readers compare with it, whatever this host's clock says
            seen_s = await here.async_store.do(jobs.time_s())
            renewed = card.model_copy(
                update={
                    "seen": datetime.fromtimestamp(seen_s, UTC),
                    "clock_ahead_s": round(time.time() - seen_s, 3),
                    "policy_version": here.policy.version,
                }
            )
            await here.async_store.do_many([fleet.put_card(renewed), fleet.keep_cards()])
        except StoreError as error:
            log.warning("The worker's card could not be renewed; trying again. %s", error)
        await asyncio.sleep(HEARTBEAT_S)


@message_refused.connect
def _count_refused(queue: str, reason: str, **_: Any) -> None:
    if _station is not None:
        _station.observer.refused(queue, reason)


@signals.task_rejected.connect
@signals.task_unknown.connect
def _count_rejected(message: Any, **_: Any) -> None:
    """Celery found something wrong with a message that looked like one of ours."""
    queue = (message.delivery_info or {}).get("routing_key")
    station().observer.refused(queue if queue in QUEUES else "", MALFORMED)


@signals.worker_shutting_down.connect
def _drain(**_: Any) -> None:
    """Begin to give back; Celery calls this from its signal handler."""
    if _station is not None:
        _station.loop.start(drain(_station, for_s=drain_s()))


@signals.worker_shutdown.connect
def _close(**_: Any) -> None:
    """Take the card away and close the connections."""
    global _station
    here, _station = _station, None
    if here is None:
        return
    if _card is not None:
        try:
            here.store.do(fleet.drop_card(_card.name))
        except StoreError as error:
            log.warning("The worker's card stays until it is stale. %s", error)
    here.close()
