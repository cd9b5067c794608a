"""A cable to a server that can be cut: a TCP relay on loopback."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Final, Self

_LINGER_NONE: Final = struct.pack("ii", 1, 0)  # close() then resets the connection


class Cable:
    """Context manager: relays connections to a port, until it is cut.

    Args:
        port: of the server on loopback.
    """

    def __init__(self, port: int) -> None:
        #: Bytes that went to the server so far.
        self.sent = 0
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._cut_at: int | None = None
        self._for_good = False
        self._broken = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        """Where clients connect."""
        return int(self._listener.getsockname()[1])

    def cut_after(self, size: int, *, for_good: bool) -> None:
        """Cut all connections after so many more bytes; ``for_good``: and take no new ones."""
        self._cut_at, self._for_good = self.sent + size, for_good

    def lead_to(self, port: int) -> None:
        """Take new connections to another server; those that are open stay where they are."""
        self._server_port = port

    @property
    def was_cut(self) -> bool:
        """Whether it has come to the cut."""
        return self._cut_at is None and self.sent > 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.close()
        self._cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                if self._broken:
                    _reset(client)
                    continue
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._open |= {client, server}
                for source, sink, counts in ((client, server, True), (server, client, False)):
                    relay = threading.Thread(
                        target=self._relay, args=(source, sink), kwargs={"counts": counts}
                    )
                    relay.daemon = True
                    relay.start()

    def _relay(self, source: socket.socket, sink: socket.socket, *, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                sink.sendall(data)
                if counts:
                    self._count(len(data))
        self._hang_up(source, sink)

    def _count(self, size: int) -> None:
        with self._lock:
            self.sent += size
            if self._cut_at is not None and self.sent >= self._cut_at:
                self._cut_at, self._broken = None, self._for_good
                self._cut()

    def _cut(self) -> None:
        self._hang_up(*self._open)

    def _hang_up(self, *ends: socket.socket) -> None:
        for end in ends:
            self._open.discard(end)
            _reset(end)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        end.shutdown(socket.SHUT_RDWR)
    end.close()
