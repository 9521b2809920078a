"""What happens between the command and the first picture, when the source has no good answer.

As a program, this file is vmtop with a source that fails at the moment named by its first argument.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.terminal_rig import TerminalRig
from vmtop import cli
from vmtop.backends.clock import SystemClock
from vmtop.backends.simulator.backend import SimulatorBackend
from vmtop.errors import ConnectError, ControlError
from vmtop.model.capability import Capability
from vmtop.model.sample import Sample
from vmtop.model.storage import StorageSample

REFUSED = "nobody listens there"


class FailingBackend:
    name = "failing"
    uri = "failing:///"
    is_simulated = False
    capability = Capability()
    fault_control = None

    def __init__(self, moment: str) -> None:
        self._moment = moment
        self._waiting = threading.Event()

    def read_sample(self) -> Sample:
        while not self._is_due():
            self._waiting.wait(0.01)
        if self._moment == "after the import":
            self._waiting.wait(0.2)
        raise ConnectError(REFUSED)

    def _is_due(self) -> bool:
        if self._moment == "late":
            return Path(os.environ["VMTOP_TEST_TRIGGER"]).exists()
        return self._moment == "at once" or hasattr(sys.modules.get("vmtop.tui.app"), "VmtopApp")

    def read_storage(self, uuid: str) -> StorageSample:
        raise ControlError(REFUSED)

    def on_change(self, notify: Callable[[], None]) -> None:
        pass

    def close(self) -> None:
        pass


class WritableBackend(SimulatorBackend):
    capability = Capability(is_readonly=False)


def start(moment: str, *options: str, **environ: str) -> TerminalRig:
    return TerminalRig([sys.executable, __file__, moment, *options], columns=120, rows=40, environ=environ)


@pytest.mark.parametrize("moment", ["at once", "after the import"])
def test_a_source_that_fails_at_once_is_one_line_and_its_code_whenever_it_does(moment: str) -> None:
    with start(moment) as rig:
        assert rig.wait_exit() == ConnectError.exit_code
        assert rig.received.decode() == f"vmtop: {REFUSED}\r\n"
        assert rig.leftovers() == []


def test_a_source_that_fails_late_has_a_screen_and_its_code_in_the_end(tmp_path: Path) -> None:
    trigger = tmp_path / "fail-now"
    with start("late", VMTOP_TEST_TRIGGER=str(trigger)) as rig:
        rig.wait_for_text("Waiting for the first figures of failing:///")
        trigger.touch()
        rig.wait_for_text("NO ANSWER")
        rig.press("q")
        assert rig.wait_exit() == ConnectError.exit_code
        assert f"vmtop: {REFUSED}" in "\n".join(rig.emulator.lines)
        assert rig.leftovers() == []


def test_a_wrong_theme_is_said_before_a_source_that_fails() -> None:
    with start("at once", TEXTUAL_THEME="no-theme") as rig:
        assert rig.wait_exit() == 2
        assert "there is no theme 'no-theme'" in rig.received.decode()


@pytest.mark.parametrize(("options", "is_readonly"), [((), False), (("--readonly",), True)])
def test_a_source_that_could_be_changed_is_called_read_only_when_a_person_wants_it(
    options: tuple[str, ...], is_readonly: bool
) -> None:
    with start("writable", *options) as rig:
        rig.wait_for_text(" VMs")
        shown = "\n".join(rig.emulator.lines)
        assert ("  RO  " in shown, "  RW  " in shown) == (is_readonly, not is_readonly)


def test_nothing_that_acts_is_loaded_for_the_first_picture() -> None:
    program = "import sys, vmtop.tui.app; sys.exit(any(name.startswith('vmtop.actions') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


if __name__ == "__main__":
    moment, *options = sys.argv[1:]
    backend = WritableBackend(clock=SystemClock()) if moment == "writable" else FailingBackend(moment)
    with patch.object(cli, "make_backend", lambda *_: backend):
        sys.exit(cli.main(options))
