"""The page of snapshots and the kinds that can be taken."""

from dataclasses import replace

import pytest

from tests.actions.scenes import (
    ID,
    NAMES_ONLY,
    make_checkpoint,
    make_disk,
    make_folder,
    make_snapshot,
    make_storage,
    situate,
)
from tests.builders import START_S, make_facts, make_job, make_vm
from tests.viewmodel.scenes import HOSTILE_NAMES
from vmtop.actions.situation import Situation
from vmtop.model.kind import SnapshotKind
from vmtop.model.sample import VmSample
from vmtop.model.storage import SnapshotInfo, StorageSample
from vmtop.units import GIB
from vmtop.viewmodel.formats import line_width
from vmtop.viewmodel.sheet import Page
from vmtop.viewmodel.snapshots import (
    KindChoice,
    build_choice_words,
    build_choices,
    build_consequences,
    build_snapshots,
    build_storage_facts,
    snapshot_choices,
)
from vmtop.viewmodel.tone import Line

NOW_S = START_S + 3600.0 * 3


def text_of(line: Line) -> str:
    return "".join(span.text for span in line).rstrip()


def tree(*snapshots: SnapshotInfo, has_unicode: bool = True, width: int = 100) -> Page:
    storage = make_storage(snapshots=snapshots)
    return build_snapshots(storage, now_s=NOW_S, width=width, has_unicode=has_unicode)


def choices(storage: StorageSample, vm: VmSample | None = None) -> tuple[KindChoice, ...]:
    now = situate(vm, storage=storage)
    return snapshot_choices(now.frame.vms[0], now)


def test_snapshots_stand_as_a_tree_with_the_present_as_a_leaf() -> None:
    middle = replace(make_snapshot("middle", SnapshotKind.EXTERNAL, "base"), is_current=True)
    page = tree(make_snapshot("base"), middle, make_snapshot("side", SnapshotKind.DISK_ONLY, "base"))
    assert [text_of(line)[:12].rstrip() for line in page.lines[1:]] == [
        "base",
        "├─ middle",
        "│  └─ now",
        "└─ side",
    ]
    assert page.keys == (None, "base", "middle", None, "side")


def test_a_row_tells_age_size_kind_and_what_the_snapshot_holds() -> None:
    taken = replace(make_snapshot("before-upgrade"), size_bytes=3 * GIB)
    shut = replace(make_snapshot("cold", parent="before-upgrade"), state="shutoff")
    page = tree(taken, shut)
    assert text_of(page.lines[1]).split() == [
        *["before-upgrade", "3h", "3.00G", "inside", "its", "disks", "memory", "and", "disks", "running"]
    ]
    assert text_of(page.lines[2]).split()[-2:] == ["disks", "shutoff"]
    assert "?" in text_of(page.lines[2])  # nobody tells its size


def test_without_snapshots_the_page_says_so() -> None:
    page = tree()
    assert "no snapshots" in text_of(page.lines[0])
    assert set(page.keys) == {None}


def test_snapshots_whose_parents_go_in_a_circle_are_still_shown() -> None:
    page = tree(make_snapshot("a", parent="b"), make_snapshot("b", parent="a"), make_snapshot("c", parent="gone"))
    assert [key for key in page.keys if key] == ["c", "a", "b"]


@pytest.mark.parametrize("width", [40, 60, 200])
def test_lines_fit_and_are_harmless_whatever_snapshots_are_called(width: int) -> None:
    page = tree(*(make_snapshot(name) for name in HOSTILE_NAMES), has_unicode=False, width=width)
    assert all(line_width(line) <= width for line in page.lines)
    text = "".join(map(text_of, page.lines))
    assert text.isascii()
    assert text.isprintable()


def test_what_snapshots_depend_on_is_told() -> None:
    storage = make_storage(checkpoints=(make_checkpoint(),), has_agent=False, unknown={"disks": "vdb: no such file"})
    text = "\n".join(text_of(line) for line in build_storage_facts(storage, width=100, has_unicode=True))
    assert "vda qcow2, 5.00G of 20.0G, 100G free beside it" in text
    assert "not connected" in text
    assert "holds     1 checkpoint of vmtop's backups, which c deletes; until all are gone nothing can be" in text
    assert "vdb: no such file" in text


def consequences(storage: StorageSample, name: str, vm: VmSample | None = None) -> str:
    now: Situation = situate(vm, storage=storage)
    return "\n".join(text_of(line) for line in build_consequences(name, ID, now, width=200, has_unicode=True))


def test_what_a_revert_and_a_deletion_would_do_is_told_before_any_key() -> None:
    text = consequences(make_storage(snapshots=(make_snapshot("base"),)), "base")
    assert (
        "revert    QEMU is started anew, and the guest goes on as it was then; all that happened since is lost" in text
    )
    assert "delete    there will be no way back to base" in text


def test_why_a_revert_is_not_possible_is_told_before_any_key() -> None:
    storage = make_storage(snapshots=(make_snapshot("base"),), checkpoints=(make_checkpoint(),))
    text = consequences(storage, "base")
    assert "revert    not possible: it has checkpoints of backups" in text
    assert "libvirt would kill the VM; c deletes checkpoints" in text
    foreign = replace(storage, checkpoints=(make_checkpoint("daily"),))
    assert "c deletes" not in consequences(foreign, "base")
    busy = consequences(make_storage(snapshots=(make_snapshot("base"),)), "base", make_vm(jobs=(make_job(),)))
    assert busy.count("not possible: a job runs on") == 2


def test_a_libvirt_that_can_revert_to_live_snapshots_has_them_recommended() -> None:
    first, *others = choices(make_storage())
    assert first.id == "external"
    assert first.request.memory_path == f"/images/vm-0001-00000000.{first.request.name}.mem"
    assert [choice.id for choice in others] == ["internal", "disk-only quiesced", "disk-only"]
    assert not any(choice.verdict.is_refused for choice in (first, *others))


def test_an_older_libvirt_has_snapshots_inside_the_disks_recommended() -> None:
    assert next(choice.id for choice in choices(make_storage(can_revert_external=False))) == "internal"


def test_an_older_libvirt_with_a_raw_disk_has_disks_alone_recommended() -> None:
    storage = make_storage(make_disk(image_format="raw"), can_revert_external=False, has_agent=False)
    found = choices(storage)
    assert next(choice.id for choice in found if not choice.verdict.is_refused) == "disk-only"
    assert [choice.id for choice in found if choice.verdict.is_refused] == ["internal", "disk-only quiesced"]


def test_a_driver_that_knows_one_kind_only_has_that_one_recommended() -> None:
    raw = make_storage(make_disk(image_format="raw"), can_revert_external=False, has_agent=False)
    now = situate(storage=raw, capability=NAMES_ONLY)
    found = snapshot_choices(now.frame.vms[0], now)
    assert [choice.id for choice in found if not choice.verdict.is_refused] == ["internal"]
    shown = "\n".join(map(text_of, build_choices(found, width=100, has_unicode=True).lines))
    assert shown.count("qemu:///system knows no snapshots of this kind") == 3


def test_a_vm_with_a_passed_through_device_gets_no_snapshot_with_memory() -> None:
    found = choices(make_storage(), make_vm(facts=make_facts(has_vfio=True)))
    assert [choice.id for choice in found if not choice.verdict.is_refused] == ["disk-only quiesced", "disk-only"]


def test_a_disk_that_is_no_file_leaves_the_memory_without_a_place() -> None:
    found = {choice.id: choice for choice in choices(make_storage(make_disk(path=None)))}
    assert found["external"].request.memory_path is None
    assert found["external"].verdict.is_refused


def test_kinds_tell_pause_size_room_and_worth_and_why_others_are_not_possible() -> None:
    storage = make_storage(make_disk(image_format="raw"))
    page = build_choices(choices(storage), width=100, has_unicode=True)
    lines = [text_of(line) for line in page.lines]
    live = next(line for line in lines if line.startswith("with memory, live"))
    assert live.split()[-6:] == ["300", "ms", "3.00G", "100G", "complete", "yes"]
    place = lines.index("with memory, inside its disks  not possible")
    assert "vda (raw)" in lines[place + 1]
    assert page.keys[place] is None
    assert [key for key in page.keys if key] == ["external", "disk-only quiesced", "disk-only"]


def test_the_kind_under_the_cursor_is_explained() -> None:
    found = {choice.id: choice for choice in choices(make_storage(can_revert_external=False))}
    text = "\n".join(text_of(line) for line in build_choice_words(found["disk-only"], width=100, has_unicode=True))
    assert "stands still for about 100 ms" in text
    assert "as after a power failure" in text
    assert "this libvirt cannot revert to it" in text


def test_where_no_kind_is_possible_all_reasons_are_shown_and_nothing_can_be_chosen() -> None:
    found = choices(make_storage(), make_vm(jobs=(make_job(),)))
    page = build_choices(found, width=80, has_unicode=True)
    assert set(page.keys) == {None}
    assert sum("not possible" in text_of(line) for line in page.lines) == 4


def test_room_for_the_memory_is_that_beside_the_disk() -> None:
    full = make_storage(make_disk(folder_free_bytes=1 * GIB))
    (live,) = [choice for choice in choices(full) if choice.id == "external"]
    assert any("are free where it is written" in refusal for refusal in live.verdict.refusals)
    assert make_folder().free_bytes == 100 * GIB  # that of the scene, which must not count here
