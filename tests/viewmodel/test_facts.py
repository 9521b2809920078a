"""The detail pages: what is known in words, why the rest is not, and what to do about it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import (
    make_facts,
    make_frame,
    make_host,
    make_job,
    make_ksm,
    make_off_vm,
    make_qemu,
    make_sample,
    make_vm,
    vm_uuid,
)
from tests.viewmodel.golden import check_golden
from tests.viewmodel.scenes import HOSTILE_NAMES, hostile_frame, text_of, troubled_frame
from vmtop.derive.frame import Frame, derive_frame
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.model.sample import Answer, VmFacts, VmSample
from vmtop.units import GIB, MIB
from vmtop.viewmodel.facts import build_host_facts, build_vm_facts
from vmtop.viewmodel.formats import line_width
from vmtop.viewmodel.tone import Line, Tone


def words(lines: tuple[Line, ...]) -> str:
    return "\n".join(text_of(line).rstrip() for line in lines) + "\n"


def said_of(vm: VmSample, *, is_simulated: bool = False, uri: str = "qemu:///system") -> str:
    """All that the page says, on one line."""
    frame = derive_frame(None, make_sample(vm, is_simulated=is_simulated, uri=uri), DEFAULT_POLICY)
    return " ".join(words(build_vm_facts(frame, vm.uuid)).split())


def page_of(frame: Frame, name: str) -> str:
    uuid = next(vm.uuid for vm in frame.vms if vm.name == name)
    return words(build_vm_facts(frame, uuid))


@pytest.mark.parametrize("name", ["web-2", "db-1", "no-driver", "no-period", "old-figures", "switched-off"])
def test_the_page_of_a_vm_looks_so(name: str) -> None:
    check_golden(f"vm-{name}.txt", page_of(troubled_frame(), name))


def test_the_page_of_the_host_looks_so() -> None:
    check_golden("host.txt", words(build_host_facts(troubled_frame())))


def test_the_page_of_a_vm_tells_the_limit_of_its_job() -> None:
    slow = make_job(limit_bytes_per_s=20 * MIB, disks=2)
    assert "backup 30%, 3 GiB of 10 GiB, limited to 20.0M/s for each disk, runs for 12 s" in said_of(
        make_vm(jobs=(slow,))
    )
    assert "limited" not in said_of(make_vm(jobs=(make_job(limit_bytes_per_s=0),)))


def test_a_vm_that_is_gone_is_said_to_be_gone() -> None:
    assert (
        words(build_vm_facts(make_frame(2), vm_uuid(99))) == "This VM is gone: the source does not list it any more.\n"
    )


@given(st.integers(8, 200), st.booleans())
@settings(max_examples=25, deadline=None)
def test_every_page_fits_its_width_and_is_harmless(width: int, has_unicode: bool) -> None:
    frames = (troubled_frame(), hostile_frame())
    pages = [build_host_facts(frame, width=width, has_unicode=has_unicode) for frame in frames]
    pages += [
        build_vm_facts(frame, vm.uuid, width=width, has_unicode=has_unicode) for frame in frames for vm in frame.vms
    ]
    for line in (line for page in pages for line in page):
        assert line_width(line) <= width
        assert text_of(line).isprintable()
        assert has_unicode or text_of(line).isascii()


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_command_to_copy_never_holds_a_name_that_a_shell_or_virsh_could_take_for_something_else(name: str) -> None:
    vm = make_vm(name=name, facts=make_facts(stats_period_s=0))
    said = said_of(vm)
    if name == "n" * 255:
        assert f"dommemstat {name[:40]}" in said
    else:
        assert f"dommemstat {vm.uuid} --period 5 --live" in said


@pytest.mark.parametrize("name", ["3", "-h", "a b", "a;b", "$(x)"])
def test_a_name_that_virsh_would_take_for_an_id_or_an_option_gives_way_to_the_uuid(name: str) -> None:
    vm = make_vm(name=name, facts=make_facts(stats_period_s=0))
    assert f"`virsh -c qemu:///system dommemstat {vm.uuid} --period 5 --live`" in said_of(vm)


def test_the_connection_in_a_command_is_quoted() -> None:
    vm = make_vm(name="web", facts=make_facts(stats_period_s=0))
    assert "`virsh -c 'qemu+ssh://h/system?a=1&b=2' dommemstat web" in said_of(vm, uri="qemu+ssh://h/system?a=1&b=2")


@pytest.mark.parametrize(
    ("vm", "advice"),
    [
        (make_vm(guest=None, facts=make_facts(has_balloon=False, stats_period_s=None)), "<memballoon model='virtio'/>"),
        (make_vm(guest=None), "virtio_balloon in Linux"),
        (make_vm(answer=Answer.HUNG, hung_s=12.0), "dead disk or NFS server"),
        (make_vm(answer=Answer.BUSY), "domjobinfo vm-0001"),
        (
            make_vm(qemu=make_qemu(ksm_merged_bytes=None), unknown={"ksm_merged_bytes": "x is readable by root only"}),
            "run vmtop with sudo",
        ),
    ],
)
def test_what_to_do_is_said_for_what_is_missing(vm: VmSample, advice: str) -> None:
    assert advice in said_of(vm)


def test_nothing_is_advised_for_a_vm_that_is_well_off_or_simulated() -> None:
    assert "What to do" not in said_of(make_vm())
    assert "What to do" not in said_of(make_off_vm())
    assert "What to do" not in said_of(make_vm(guest=None), is_simulated=True)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (make_facts(has_hugepages=True), "never merged, never swapped, and ballooning gives nothing back"),
        (make_facts(has_vfio=True), "pinned by a passed-through device"),
        (make_facts(has_nosharepages=True), "not to be merged by KSM"),
        (make_facts(is_locked=True), "locked: never swapped"),
        (make_facts(virtio_mem_bytes=GIB), "1 GiB, out of the balloon's reach"),
        (make_facts(min_guarantee_bytes=512 * MIB), "guaranteed 512 MiB"),
        (make_facts(has_autodeflate=True), "autodeflate"),
        (make_facts(has_free_page_reporting=True), "free page reporting"),
        (make_facts(has_balloon=False, stats_period_s=None), "balloon device none"),
        (make_facts(stats_period_s=0), "no figures: the statistics period is 0"),
    ],
)
def test_the_definition_is_told_with_what_follows_from_it(facts: VmFacts, said: str) -> None:
    assert said in said_of(make_vm(facts=facts))


def test_each_reason_stands_once_with_all_figures_it_explains() -> None:
    said = said_of(make_vm(qemu=None, rss_bytes=3 * GIB, unknown={"qemu": "no /proc of a remote host"}))
    assert said.count("no /proc of a remote host") == 1
    assert "hugetlb, host swap, ksm merged, ksm saved, cgroup, host major faults, psi some, psi full: no /proc" in said


@pytest.mark.parametrize(
    ("available_gib", "said"),
    [
        (10.0, "available 10 GiB, 5 GiB above that of watch"),
        (3.0, "available 3 GiB, 2 GiB below the threshold of watch, 532 MiB above that of soft"),
        (0.5, "available 512 MiB, 123 MiB below the threshold of critical Memory"),
    ],
)
def test_the_ladder_says_where_the_host_stands_and_how_far_the_next_rungs_are(available_gib: float, said: str) -> None:
    frame = make_frame(1, host=make_host(available_bytes=int(available_gib * GIB), free_bytes=0))
    assert said in " ".join(words(build_host_facts(frame)).split())


def test_the_rung_on_which_the_host_stands_is_marked() -> None:
    frame = troubled_frame()
    (marked,) = [line for line in build_host_facts(frame) if text_of(line).startswith("  > ")]
    assert text_of(marked).startswith("  > soft")
    assert marked[1].tone is Tone.WARN


def test_sharing_is_told_as_a_ledger() -> None:
    ksm = make_ksm(profit_bytes=-3 * MIB, is_running=False)
    page = " ".join(words(build_host_facts(make_frame(2, host=make_host(ksm=ksm)))).split())
    for said in (
        "is stopped",
        "saved 781 MiB",
        "kept 195 MiB",
        "each kept page serves 5.0",
        "-3 MiB: bookkeeping costs",
    ):
        assert said in page


def test_a_host_of_which_little_is_known_says_why() -> None:
    host = make_host(available_bytes=None, pressure=None, unknown={"available_bytes": "this libvirt does not tell it"})
    page = " ".join(words(build_host_facts(make_frame(2, host=host))).split())
    assert "available, droppable, other: this libvirt does not tell it" in page
    assert "Pressure" not in page


def test_a_pool_of_huge_pages_is_told() -> None:
    host = make_host(hugepages_total_bytes=2 * GIB, hugepages_free_bytes=512 * MIB)
    page = " ".join(words(build_host_facts(make_frame(2, host=host))).split())
    assert "huge pages 2 GiB in the pool, 512 MiB of it free" in page
