"""The menu of faults."""

from vmtop.model.fault import FaultInfo
from vmtop.viewmodel.faults import FaultChoice, build_faults
from vmtop.viewmodel.formats import line_width

FAULTS = (
    FaultInfo(fault_id="stats-stale", sentence="figures stop coming", is_for_vm=True, lasts_s=120),
    FaultInfo(fault_id="guest-oom", sentence="its kernel kills a program", is_for_vm=True, lasts_s=0),
    FaultInfo(fault_id="swap-slow", sentence="the swap device is slow", is_for_vm=False, lasts_s=30),
)


def test_faults_of_the_vm_come_before_those_of_the_host() -> None:
    page, choices = build_faults(FAULTS, "u1", "web-1", width=80, has_unicode=True)
    shown = ["".join(span.text for span in line).split() for line in page.lines]
    assert shown[0] == ["TO", "web-1"]
    assert shown[2] == ["stats-stale", "2", "min", "figures", "stop", "coming"]
    assert shown[3][:2] == ["guest-oom", "once"]
    assert [key for key in page.keys if key] == ["stats-stale", "guest-oom", "swap-slow"]
    assert choices["stats-stale"] == FaultChoice("stats-stale", "u1")
    assert choices["swap-slow"] == FaultChoice("swap-slow", None)


def test_without_a_vm_only_the_host_is_there() -> None:
    page, choices = build_faults(FAULTS, None, "", width=80, has_unicode=True)
    assert [key for key in page.keys if key] == ["swap-slow"]
    assert list(choices) == ["swap-slow"]


def test_lines_fit_whatever_the_vm_is_called() -> None:
    page, _ = build_faults(FAULTS, "u1", "a\x1b[31m" * 20, width=40, has_unicode=False)
    assert all(line_width(line) <= 40 for line in page.lines)
    assert "".join(span.text for line in page.lines for span in line).isprintable()
