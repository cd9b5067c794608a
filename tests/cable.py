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
        self._ends: list[tuple[socket.socket, socket.socket]] = []
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
        for _, server in self._ends:
            server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                if self._broken:
                    _reset(client)
                    continue
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._ends.append((client, server))
                for relay in (self._up, self._down):
                    threading.Thread(target=relay, args=(client, server), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(4096):
                if self._is_last(len(data)):
                    self._cut()  # first, so that no reply to what is sent now gets through
                server.sendall(data)
        _end(server)

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(4096):
                client.sendall(data)
        _reset(client)

    def _is_last(self, size: int) -> bool:
        with self._lock:
            self.sent += size
            if self._cut_at is None or self.sent < self._cut_at:
                return False
            self._cut_at, self._broken = None, self._for_good
            return True

    def _cut(self) -> None:
        for client, _ in self._ends:
            _reset(client)


def _reset(client: socket.socket) -> None:
    """Have the client see a connection that broke."""
    with contextlib.suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        client.shutdown(socket.SHUT_RDWR)
    client.close()


def _end(server: socket.socket) -> None:
    """No more comes; what was sent is still read, which a reset could keep from it."""
    with contextlib.suppress(OSError):
        server.shutdown(socket.SHUT_WR)
