"""Machines on one switch, each with an address and a cable that can be pulled: Linux' namespaces.

Nothing of it is seen outside: the switch is a bridge in a namespace of its own, and the cables
are veth pairs that were never anywhere else.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_NAMESPACES: Final = Path("/run/netns")
_OWN: Final = Path("/proc/thread-self/ns/net")
_CLONE_NEWNET: Final = 0x40000000
_BRIDGE: Final = "bridge"
_CARD: Final = "eth0"

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Machine:
    """One machine: ``with machine.here()`` is what runs on it.

    Attributes:
        address: of its network card.
        mac: of its network card.
    """

    def __init__(self, name: str, number: int, *, prefix: str) -> None:
        self.name = name
        self.address = f"10.77.0.{number}"
        self.mac = f"02:00:00:00:00:{number:02x}"
        self.namespace = f"{prefix}-{name}"
        #: The other end of its cable, at the switch.
        self.port = f"to-{name}"
        self._switch = f"{prefix}-switch"

    @contextmanager
    def here(self) -> Iterator[None]:
        """Have this thread, and the threads and processes it starts, be at the machine."""
        with _OWN.open("rb") as before, (_NAMESPACES / self.namespace).open("rb") as machine:
            _enter(machine.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def cut(self) -> None:
        """Pull the cable out of the switch.

        Silence is all that either side gets: both cards stay up, and the hardware addresses are
        known for good, so that nobody is told "no route to host", as behind a router.
        """
        _ip(f"link set {self.port} nomaster", namespace=self._switch)

    def join(self) -> None:
        """Put the cable back."""
        _ip(f"link set {self.port} master {_BRIDGE}", namespace=self._switch)


class Network:
    """Context manager: machines that reach each other; gone at its end, with what is in them.

    End the processes on them first: a namespace lasts as long as its last process.

    Args:
        names: of the machines.
    """

    def __init__(self, *names: str) -> None:
        # its own for each run: several may go on at once
        prefix = f"promptyard-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._switch = f"{prefix}-switch"
        self._machines = {
            name: Machine(name, number, prefix=prefix) for number, name in enumerate(names, 1)
        }

    def __getitem__(self, name: str) -> Machine:
        return self._machines[name]

    def join(self) -> None:
        """Put every cable in that is out."""
        for machine in self._machines.values():
            machine.join()

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._remove()

    def _build(self) -> None:
        machines = self._machines.values()
        _ip(f"netns add {self._switch}", *(f"netns add {one.namespace}" for one in machines))
        _ip(
            "link set lo up",
            f"link add {_BRIDGE} type bridge",
            f"link set {_BRIDGE} up",
            namespace=self._switch,
        )
        for one in machines:
            self._plug_in(one)
        for one, other in permutations(machines, 2):
            _ip(
                f"neigh replace {other.address} lladdr {other.mac} dev {_CARD} nud permanent",
                namespace=one.namespace,
            )

    def _plug_in(self, machine: Machine) -> None:
        _ip(
            f"link add {machine.port} type veth peer name {_CARD} address {machine.mac} "
            f"netns {machine.namespace}",
            f"link set {machine.port} master {_BRIDGE}",
            f"link set {machine.port} up",
            namespace=self._switch,
        )
        _ip(
            "link set lo up",
            f"address add {machine.address}/24 dev {_CARD}",
            f"link set {_CARD} up",
            namespace=machine.namespace,
        )

    def _remove(self) -> None:
        ours = [self._switch, *(one.namespace for one in self._machines.values())]
        _ip(*(f"netns del {name}" for name in ours if (_NAMESPACES / name).exists()))


def why_not() -> str | None:
    """What is missing for machines; None if they can be made. Found out by making some."""
    if shutil.which("ip") is None:
        return "no `ip`: apt install iproute2"
    try:
        with Network("a", "b") as network, network["a"].here():
            return None
    except (OSError, subprocess.CalledProcessError) as error:
        said = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        return (
            f"no network namespaces ({said.partition(chr(10))[0]}): "
            "run as root; in a container, with CAP_SYS_ADMIN and CAP_NET_ADMIN"
        )


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _ip(*commands: str, namespace: str | None = None) -> None:
    """Carry out `ip` commands, in the namespace."""
    where: Sequence[str] = ("-n", namespace) if namespace else ()
    subprocess.run(
        ["ip", *where, "-batch", "-"],
        input="\n".join(commands),
        check=True,
        capture_output=True,
        text=True,
    )
