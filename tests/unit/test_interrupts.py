"""Signals become one exception, and never in the middle of what is shielded."""

from __future__ import annotations

import os
import signal

import pytest

from promptyard.interrupts import Interrupts, Stopped


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_stops(signum: signal.Signals, code: int) -> None:
    """ctrl-C and SIGTERM both arrive as Stopped, with the shell's exit code."""
    with pytest.raises(Stopped) as stopped, Interrupts():
        os.kill(os.getpid(), signum)
    assert stopped.value.exit_code == code


def test_later_signals_are_only_counted() -> None:
    """A second ctrl-C does not tear the clean-up apart."""
    with Interrupts() as interrupts:
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.count == 3


def test_a_shield_holds_it_back_until_its_end() -> None:
    """What is shielded runs to its end; then the signal is heard."""
    reached = []

    def shielded(interrupts: Interrupts) -> None:
        with interrupts.shield(), interrupts.shield():
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append(interrupts.count)

    with Interrupts() as interrupts:
        with pytest.raises(Stopped):
            shielded(interrupts)
        assert reached == [1]


def test_an_error_under_a_shield_comes_out() -> None:
    """A failure to start says more than the signal that came with it."""

    def failing(interrupts: Interrupts) -> None:
        with interrupts.shield():
            os.kill(os.getpid(), signal.SIGTERM)
            raise ValueError("first")

    with Interrupts() as interrupts, pytest.raises(ValueError, match="first"):
        failing(interrupts)


def test_handlers_are_put_back() -> None:
    """After the block signals mean what they meant before."""
    before = signal.getsignal(signal.SIGTERM)
    with Interrupts():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
