"""Signals that ask for an end: noted once, and then as before."""

import os
import signal

import pytest

from vmtop.command_line.interrupt import noted_interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_noted_and_everything_is_as_before_then(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with noted_interrupts() as interrupt:
        assert interrupt.number == 0
        os.kill(os.getpid(), number)
        assert (interrupt.number, interrupt.exit_code) == (number, 128 + number)
        assert signal.getsignal(number) is before
    assert signal.getsignal(number) is before


def test_what_is_ignored_stays_so_as_nohup_wants_it() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with noted_interrupts() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
            assert interrupt.number == 0
    finally:
        signal.signal(signal.SIGHUP, before)
