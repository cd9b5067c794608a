"""The policy in force: the router file as last read, and the watch that reads it again.

A policy is never changed, only replaced as a whole: a chunk or a call that has begun ends by
the one it began with.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from promptyard.errors import PromptyardError, StoreError
from promptyard_worker.routing.config import RouterConfig, digest
from promptyard_worker.routing.file import load_router

if TYPE_CHECKING:
    from promptyard_worker.routing.router import PromptRouter

log = logging.getLogger(__name__)

#: How often the files are looked at.
LOOK_EVERY_S: Final = 2.0
#: A file that has changed may be half written: it is read once it has kept still for so long.
STILL_S: Final = 0.2
#: A file that is written to for longer is read all the same.
_MOST_WAITS: Final = 10
#: A refused file is tried again after so long, unchanged: what it names may have come meanwhile
#: (a fitted file, a package, the encoder's service).
REFUSED_RETRY_S: Final = 60.0
#: How long closing waits for a policy that is being built.
CLOSE_S: Final = 5.0

Builder = Callable[[RouterConfig], "PromptRouter"]
#: Of the watched files: time of change, size and inode; None where there is no file.
_Stamps = dict[Path, tuple[int, int, int] | None]


@dataclass(frozen=True)
class Policy:
    """What a worker works by."""

    config: RouterConfig
    #: None: the worker routes nothing.
    _router: PromptRouter | None = None

    @property
    def version(self) -> str:
        """Of its files."""
        return self.config.policy_version

    @property
    def router(self) -> PromptRouter:
        """Decides for jobs; only a classify worker has one."""
        if self._router is None:
            raise RuntimeError("no router: this worker does not consume the classify queue")
        return self._router


class PolicyWatch:
    """Has the policy in force, and replaces it when its files change; safe between threads.

    A thread of its own looks, since building a router can take seconds. It is a daemon: a
    worker that is told to stop does not wait for a policy that nobody will use.
    """

    def __init__(
        self, path: Path, *, build: Builder | None, publish: Callable[[RouterConfig], None]
    ) -> None:
        """Read the file; nothing is watched yet.

        Args:
            path: the router file, from now on.
            build: makes the router of a policy; None: the worker routes nothing.
            publish: tells the producers of a policy; raises StoreError if it cannot.

        Raises:
            RouterFileError: it cannot be used.
            EmbeddingError: its utterances cannot be embedded now.
        """
        self._path = path.absolute()
        self._build = build
        self._publish = publish
        self._lock = threading.Lock()
        #: True: read now; False: end. A signal handler may put something in at any moment.
        self._orders: SimpleQueue[bool] = SimpleQueue()
        self._thread = threading.Thread(target=self._keep, name="promptyard-policy", daemon=True)
        self._files: tuple[Path, ...] = (self._path,)
        self._stamps = self._stamped()
        self._policy = self._load(in_force=None)
        self._published = ""
        #: Content of what was refused last, and when it was tried.
        self._refused: str | None = None
        self._tried_s = 0.0

    @property
    def policy(self) -> Policy:
        """The policy in force; take it once for what belongs together."""
        return self._policy

    def start(self) -> None:
        """Tell the producers of the policy, and begin to watch.

        Raises:
            StoreError: Redis is away.
        """
        self._publish(self._policy.config)
        self._published = self._policy.version
        self._thread.start()

    def ask(self) -> None:
        """Have the files read soon, changed or not; a signal handler may call it."""
        self._orders.put(True)

    def look(self) -> Policy:
        """The policy in force, once the files have been read if they have changed; may block."""
        with self._lock:
            if self._stamped() != self._stamps:
                self._renew(asked=False)
            return self._policy

    def close(self) -> None:
        """End the watch."""
        self._orders.put(False)
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def _keep(self) -> None:
        while True:
            try:
                asked = self._orders.get(timeout=LOOK_EVERY_S)
            except Empty:
                asked = None
            if asked is False:
                return
            with self._lock:
                if asked or self._is_due():
                    self._renew(asked=bool(asked))
                if self._published != self._policy.version:
                    self._tell()

    def _is_due(self) -> bool:
        if self._stamped() != self._stamps:
            return True
        return self._refused is not None and time.monotonic() > self._tried_s + REFUSED_RETRY_S

    def _renew(self, *, asked: bool) -> None:
        """Put the files in force, or say why not."""
        self._stamps = self._still()
        self._tried_s = time.monotonic()
        before = self._policy
        try:
            self._policy = self._load(in_force=before)
        except Exception as error:  # whatever it is, there is a policy to go on with
            self._refuse(error, asked=asked)
            return
        self._refused = None
        if self._policy is before:
            log.info("The router file is unchanged: policy %s.", before.version)
            return
        log.warning(
            "Policy %s is in force, after %s: %s has changed.",
            self._policy.version,
            before.version,
            self._path,
            extra={"event": "policy_changed"},
        )
        self._tell()

    def _load(self, *, in_force: Policy | None) -> Policy:
        config = load_router(self._path)
        self._files = (self._path, config.learned.file) if config.learned else (self._path,)
        if in_force is not None and config.policy_version == in_force.version:
            return in_force
        return Policy(config, self._build(config) if self._build else None)

    def _refuse(self, error: Exception, *, asked: bool) -> None:
        """Say it aloud, once for each content, and whenever somebody asked."""
        content = digest(*(_content(path) for path in self._files))
        if asked or content != self._refused:
            ours = isinstance(error, PromptyardError)
            log.error(
                "The changed router file is refused, and policy %s stays in force. %s",
                self._policy.version,
                error if ours else f"{self._path}: {type(error).__name__}: {error}",
                exc_info=None if ours else error,
                extra={"event": "policy_refused"},
            )
        self._refused = content

    def _tell(self) -> None:
        try:
            self._publish(self._policy.config)
        except StoreError as error:
            log.warning("The models and prices are published later: %s", error)
        else:
            self._published = self._policy.version

    def _stamped(self) -> _Stamps:
        return {path: _stamp(path) for path in self._files}

    def _still(self) -> _Stamps:
        """The files' stamps, once they keep still."""
        stamps = self._stamped()
        for _ in range(_MOST_WAITS):
            before = stamps
            time.sleep(STILL_S)
            stamps = self._stamped()
            if stamps == before:
                break
        return stamps


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
