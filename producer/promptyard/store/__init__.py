"""The one home of Redis state: keys, Lua scripts, and their typed sync and async faces.

``jobs``, ``batches``, ``waiting`` and ``fleet`` build typed values that say what to ask of Redis;
``Store`` and ``AsyncStore`` carry them out. There is one set of calls, so the two faces
cannot differ.
"""

from promptyard.store import batches, fleet, jobs, waiting
from promptyard.store.call import Call
from promptyard.store.faces import AsyncStore, Store

__all__ = ["AsyncStore", "Call", "Store", "batches", "fleet", "jobs", "waiting"]
