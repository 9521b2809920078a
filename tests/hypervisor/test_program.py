"""The program in a terminal, on real guests, while things break."""

import re
import sys
from collections.abc import Iterator

import pytest

from tests.hypervisor.guest import Guest
from tests.hypervisor.guest_spec import GuestSpec
from tests.hypervisor.lab import HostLab
from tests.terminal_rig import TerminalRig

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def trio(own_lab: HostLab) -> Iterator[list[Guest]]:
    with own_lab.running(*(GuestSpec(name=name, memory_mib=96) for name in ("one", "two", "three"))) as guests:
        yield guests


@pytest.fixture
def screen(own_lab: HostLab, trio: list[Guest]) -> Iterator[TerminalRig]:
    command = [sys.executable, "-m", "vmtop", "-c", own_lab.uri, "-d", "0.5", "-o", "name"]
    with TerminalRig(command, columns=160, rows=24) as rig:
        for guest in trio:
            wait_for_row(rig, guest.name, r" [0-9]s ")
        yield rig


def quit_program(rig: TerminalRig) -> None:
    rig.press("q")
    assert rig.wait_exit(seconds=PATIENCE_S) == 0
    assert rig.leftovers() == []


def row(rig: TerminalRig, name: str) -> str:
    return next((line for line in rig.emulator.lines if line.lstrip().startswith(f"{name} ")), "")


def wait_for_row(rig: TerminalRig, name: str, pattern: str) -> None:
    rig.wait_for(lambda: re.search(pattern, row(rig, name)) is not None, seconds=PATIENCE_S)


def test_a_hung_qemu_says_so_in_its_row_while_the_others_go_on_and_keys_work(
    screen: TerminalRig, trio: list[Guest]
) -> None:
    one, two, _ = trio
    two.hang()
    try:
        wait_for_row(screen, "two", r"hung \d+ s")
        one.order("hog 20 same 0")
        wait_for_row(screen, "one", r" [0-2]s ")
        wait_for_row(screen, "three", r" [0-2]s ")
        screen.press("?")
        screen.wait_for_text("Keys here")
        screen.press("escape")
        wait_for_row(screen, "two", r"hung \d\d s")
        assert re.search(r" [0-2]s ", row(screen, "one")), "figures of the others are fresh"
    finally:
        two.wake()
    wait_for_row(screen, "two", r"^ ?two +(?!hung)\S+.* [0-2]s ")
    quit_program(screen)


def test_a_killed_daemon_leaves_the_last_picture_with_its_age_and_comes_back(
    screen: TerminalRig, own_lab: HostLab, trio: list[Guest]
) -> None:
    own_lab.daemon.kill()
    try:
        screen.wait_for_text("next try", seconds=PATIENCE_S)
        for guest in trio:
            wait_for_row(screen, guest.name, r" [0-9]+s")
    finally:
        own_lab.daemon.start()
    screen.wait_for(lambda: not any("next try" in line for line in screen.emulator.lines), seconds=PATIENCE_S)
    for guest in trio:
        wait_for_row(screen, guest.name, r" [0-2]s ")
    quit_program(screen)


def test_a_daemon_that_hangs_is_said_to_and_the_program_still_quits(
    screen: TerminalRig, own_lab: HostLab, trio: list[Guest]
) -> None:
    own_lab.daemon.hang()
    try:
        screen.wait_for_text("next try", seconds=PATIENCE_S)
        screen.press("down", "r")
        quit_program(screen)
    finally:
        own_lab.daemon.wake()


def test_vms_that_are_destroyed_and_started_are_normal(
    screen: TerminalRig, own_lab: HostLab, trio: list[Guest]
) -> None:
    with own_lab.running(GuestSpec(name="guest-that-goes", memory_mib=96)) as (guest,):
        wait_for_row(screen, guest.name, r" [0-9]s ")
        guest.shut_off()
        wait_for_row(screen, guest.name, r" off ")
    screen.wait_for(lambda: row(screen, "guest-that-goes") == "", seconds=PATIENCE_S)
    wait_for_row(screen, "one", r" [0-2]s ")
    quit_program(screen)
