"""Frames with something to see: a host in trouble with one VM of each kind, and a hostile one."""

from tests.builders import (
    PERIOD_S,
    START_S,
    make_facts,
    make_frame,
    make_guest,
    make_host,
    make_job,
    make_off_vm,
    make_pressure,
    make_qemu,
    make_vm,
    vm_uuid,
)
from vmtop.derive.frame import Frame
from vmtop.model.sample import Answer, GuestSample, HostSample, JobKind, VmSample, VmState
from vmtop.units import GIB, MIB
from vmtop.viewmodel.tone import Line

HOSTILE_NAMES = (
    "[red]x[/]",
    "[@click=app.quit]x[/]",
    "a\x1b[31mb\x1b]52;c;x\x07",
    "a\nb\tc\r",
    "\u202edesrever\u2066",
    "漢字の名前を持つ仮想マシン",
    "e\u0301\u200b\ufe0f👨\u200d👩👍🏽",
    "n" * 255,
    "",
    "=cmd|' /C calc'!A0",
    '","injected',
)
"""Names that libvirt lets through, and some that it would not."""


def troubled_vms(at_s: float) -> tuple[VmSample, ...]:
    """One VM of each condition, with what it takes to derive it after two readings."""
    updated_s = int(at_s) // PERIOD_S * PERIOD_S

    def guest(*, usable_bytes: int = 2560 * MIB, free_bytes: int = 768 * MIB, swapped: int = 0) -> GuestSample:
        return make_guest(
            last_update_s=START_S + updated_s,
            usable_bytes=usable_bytes,
            free_bytes=free_bytes,
            cache_bytes=min(usable_bytes, 1920 * MIB),
            swap_in_bytes=updated_s * swapped,
            major_faults=updated_s * swapped // MIB,
        )

    def vm(number: int, name: str, **changes: object) -> VmSample:
        given = {"guest": guest(), "uuid": vm_uuid(number), "name": name, "domain_id": number} | changes
        return make_vm(**given)  # type: ignore[arg-type] # each caller gives what make_vm takes

    return (
        vm(1, "web-1"),
        vm(2, "web-2", jobs=(make_job(),)),
        vm(3, "db-1", guest=guest(usable_bytes=150 * MIB, free_bytes=50 * MIB, swapped=12 * MIB)),
        vm(4, "db-2", maximum_bytes=8 * GIB, guest=guest(usable_bytes=60 * MIB, free_bytes=20 * MIB)),
        vm(5, "mail", guest=guest(usable_bytes=300 * MIB, free_bytes=80 * MIB)),
        vm(6, "build", maximum_bytes=6 * GIB, jobs=(make_job(kind=JobKind.SNAPSHOT, total_bytes=None),)),
        vm(7, "old-figures", guest=make_guest(last_update_s=START_S - 60)),
        vm(8, "no-period", facts=make_facts(stats_period_s=0)),
        vm(9, "no-driver", guest=None),
        vm(10, "no-device", guest=None, facts=make_facts(has_balloon=False, stats_period_s=None)),
        vm(11, "hung", answer=Answer.HUNG, hung_s=34.0),
        vm(12, "busy", answer=Answer.BUSY),
        vm(13, "paused", state=VmState.PAUSED, state_reason="migrating"),
        vm(14, "crashed", state=VmState.CRASHED, state_reason="panicked"),
        vm(
            15,
            "sleeper",
            guest=guest(usable_bytes=3900 * MIB, free_bytes=3700 * MIB),
            qemu=make_qemu(rss_bytes=4 * GIB),
        ),
        vm(17, "waiter", qemu=make_qemu(pressure=make_pressure(some_ratio=0.12, full_ratio=0.03))),
        make_off_vm(uuid=vm_uuid(16), name="switched-off"),
    )


def troubled_host(at_s: float) -> HostSample:
    """A host with little memory left that reads from its swap."""
    return make_host(
        total_bytes=64 * GIB,
        available_bytes=2 * GIB,
        free_bytes=512 * MIB,
        swap_used_bytes=3 * GIB,
        swap_in_bytes=int(at_s) * 2 * MIB,
        swap_out_bytes=int(at_s) * 24 * MIB,
        pressure=make_pressure(some_ratio=0.07, full_ratio=0.004),
    )


def troubled_frame(*extra: VmSample, is_simulated: bool = False) -> Frame:
    """The second reading of the host in trouble."""
    first = make_frame((*troubled_vms(0), *extra), at_s=0, host=troubled_host(0), is_simulated=is_simulated)
    return make_frame(
        (*troubled_vms(5), *extra), at_s=5, host=troubled_host(5), is_simulated=is_simulated, previous=first
    )


def hostile_frame() -> Frame:
    """A calm host whose VMs have the worst names."""
    return make_frame([make_vm(uuid=vm_uuid(number), name=name) for number, name in enumerate(HOSTILE_NAMES, start=1)])


def text_of(line: Line) -> str:
    """What a person reads."""
    return "".join(span.text for span in line)
