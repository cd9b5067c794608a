"""The judge's allowance, shared by all classify workers through the store."""

from __future__ import annotations

import logging
import threading

from promptyard.errors import StoreError
from promptyard.store import Store, judging

log = logging.getLogger(__name__)


class SharedAllowance:
    """Implements ``routing.services.Allowance``; safe to share between threads.

    Without Redis nothing is allowed; what is spent meanwhile is put on the bill later.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._owed_usd = 0.0
        self._is_away = False

    def ask(self, *, calls_per_minute: int, max_cost_usd_per_day: float | None) -> bool:
        """Take one call; False: not now (too many this minute, or the purse is empty)."""
        call = judging.take_call(
            calls_per_minute=calls_per_minute, max_cost_usd_per_day=max_cost_usd_per_day
        )
        try:
            allowed = self._store.do(call)
        except StoreError as error:
            self._told(error)
            return False
        self._is_away = False
        return allowed

    def spent(self, cost_usd: float) -> None:
        """Put what a call cost on today's bill; a negative cost corrects an estimate."""
        with self._lock:
            due, self._owed_usd = self._owed_usd + cost_usd, 0.0
        try:
            self._store.do(judging.pay(due))
        except StoreError as error:
            self._told(error)
            with self._lock:
                self._owed_usd += due

    def _told(self, error: StoreError) -> None:
        """Say it once an outage."""
        with self._lock:
            is_news, self._is_away = not self._is_away, True
        if is_news:
            log.warning("The judge is not asked while the store is away: %s", error)
