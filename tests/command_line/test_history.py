"""`vmtop audit` as text."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.command_line.rig import Rig
from tests.viewmodel.test_audit import make_record
from vmtop.actions.audit import Phase


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_program_gets_source_and_reason_whole(rig: Rig) -> None:
    reason = "no balloon driver was seen in the guest: it never sent figures, and would not follow " * 3
    rig.audit.write(make_record(outcome="refused", text=reason.strip(), uri="simulator:///calm?seed=1&vms=40"))
    assert rig.type("audit") == 0
    _, line = rig.printed().splitlines()
    assert "SIMULATED simulator:///calm?seed=1&vms=40" in line
    assert line.endswith(reason.strip())


def test_what_really_was_done_is_not_called_simulated(rig: Rig) -> None:
    rig.audit.write(make_record())
    assert rig.type("audit") == 0
    assert "qemu:///system" in rig.printed()
    assert "SIMULATED" not in rig.printed()


def test_an_action_whose_vmtop_lives_is_running_and_one_whose_vmtop_is_gone_has_no_end(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = make_record(1, phase=Phase.STARTED, time_s=rig.clock.time() - 12)
    rig.audit.write(begun)
    rig.audit.write(replace(begun, id="a2", vm="web-2"))
    monkeypatch.setattr("vmtop.command_line.history.read_running", lambda records: frozenset({"a2"}))
    assert rig.type("audit") == 0
    rows = {line.split("Z  ")[1].split()[1]: line for line in rig.printed().splitlines()[1:]}
    assert "running for 12 s" in rows["web-2"]
    assert "no end was written" in rows["web-1"]
