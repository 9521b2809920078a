"""What is read of a VM when somebody looks: on a stand-in daemon that hangs and dies, and on libvirt's test driver."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.backends.fake_libvirt import FakeConnection, FakeError, FakeLibvirt, FakeVm
from tests.backends.test_libvirt_read import NO_BINDING, HandClock, becomes_true
from tests.builders import vm_uuid
from vmtop.backends.libvirt_link import MOST_LEFT, parse_uri
from vmtop.backends.libvirt_look import Looks
from vmtop.backends.libvirt_read import LibvirtBackend
from vmtop.errors import ControlError

URI = "qemu+tls://kvm1/system"
SHORT_S = 0.05
DISK = """<domain><devices><disk><driver name='qemu' type='qcow2'/><source file='/a'/><target dev='vda'/></disk>
</devices></domain>"""


class Bench:
    """A backend on a stand-in daemon with one VM, which nobody has read yet."""

    def __init__(self) -> None:
        self.vm = FakeVm(uuid=vm_uuid(1), name="vm1", xml=DISK)
        self.daemon = FakeLibvirt(self.vm)
        self.backend = LibvirtBackend(URI, clock=HandClock(), binding=self.daemon)
        self.looks = Looks(self.daemon, parse_uri(URI), SHORT_S)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.daemon.end_all_hangs()
    bench.looks.close()
    bench.backend.close()


def find(connection: Any) -> str:
    """A question that every VM can answer."""
    return str(connection.lookupByUUIDString(vm_uuid(1)).name())


def test_storage_is_read_without_a_connection_that_could_change_anything(bench: Bench) -> None:
    storage = bench.backend.read_storage(bench.vm.uuid)
    (disk,) = storage.disks
    assert (disk.target, disk.path, disk.image_format, disk.capacity_bytes) == ("vda", "/a", "qcow2", 4096)
    assert bench.daemon.openings == ["vmtop-look"]
    assert bench.daemon.writable_connections == []


def _cannot_tell(_connection: FakeConnection) -> bool:
    raise FakeError(1, "who knows")


@pytest.mark.parametrize("is_alive", [lambda _connection: False, _cannot_tell])
def test_a_connection_is_used_again_while_it_lives_and_replaced_when_it_died(
    bench: Bench, is_alive: Callable[[FakeConnection], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        bench.backend.read_storage(bench.vm.uuid)
    assert len(bench.daemon.openings) == 1
    monkeypatch.setattr(FakeConnection, "isAlive", is_alive)
    bench.backend.read_storage(bench.vm.uuid)
    assert len(bench.daemon.openings) == 2
    assert becomes_true(lambda: bench.daemon.open_connections == 1)


def test_a_look_that_hangs_holds_up_neither_readings_nor_other_looks_nor_the_end(bench: Bench) -> None:
    other = FakeVm(uuid=vm_uuid(2), name="vm2", number=2, xml=DISK)
    bench.daemon.vms.append(other)
    bench.vm.disks.shut()
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(bench.backend.read_storage, bench.vm.uuid)
        assert becomes_true(lambda: bench.vm.block_infos == 1)
        assert {vm.name for vm in bench.backend.read_sample().vms} == {"vm1", "vm2"}
        assert bench.backend.read_storage(other.uuid).disks[0].capacity_bytes == 4096
        assert bench.daemon.openings.count("vmtop-look") == 2
        bench.backend.close()
        with pytest.raises(ControlError, match=r"qemu.tls://kvm1/system was closed"):
            bench.backend.read_storage(other.uuid)
        assert not hanging.done()
        bench.vm.disks.open()
        assert hanging.result().disks[0].capacity_bytes == 4096
    assert becomes_true(lambda: bench.daemon.open_connections == 0), "it closes when its answer is there"


def test_several_threads_look_at_once_and_each_connection_has_one_of_them(bench: Bench) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: bench.backend.read_storage(bench.vm.uuid), range(40)))
    assert {storage.uuid for storage in found} == {bench.vm.uuid}
    assert bench.daemon.open_connections == len(bench.daemon.openings) <= 8


def test_an_answer_is_not_waited_for_for_ever_and_no_more_is_asked_while_too_many_hang(bench: Bench) -> None:
    bench.daemon.answers.shut()
    for _ in range(MOST_LEFT):
        with pytest.raises(ControlError, match=r"system has not answered for 0.05 s"):
            bench.looks.ask(find)
    with pytest.raises(ControlError, match=r"4 questions hang; no more are asked until some of them end"):
        bench.looks.ask(find)
    assert len(bench.daemon.openings) == MOST_LEFT
    bench.daemon.answers.open()

    def answers_again() -> bool:
        with suppress(ControlError):
            return bench.looks.ask(find) == "vm1"
        return False

    assert becomes_true(answers_again)


def test_a_daemon_that_cannot_be_reached_is_named_and_tried_again(bench: Bench) -> None:
    bench.daemon.open_error = FakeError(38, "Connection refused", domain=7)
    with pytest.raises(ControlError, match=r"no connection to qemu.tls://kvm1/system: Connection refused") as refusal:
        bench.backend.read_storage(bench.vm.uuid)
    assert refusal.value.code is None
    bench.daemon.open_error = None
    assert bench.backend.read_storage(bench.vm.uuid).uuid == bench.vm.uuid


@pytest.mark.parametrize(
    ("error", "text", "code"),
    [
        (FakeError(68, "cannot acquire  state\nchange lock"), "cannot acquire state change lock", 68),
        (FakeError(38, "Broken pipe", domain=7), f"the connection to {URI} is gone: Broken pipe", None),
    ],
)
def test_what_libvirt_refuses_to_tell_is_told_in_its_words_with_its_number(
    bench: Bench, error: FakeError, text: str, code: int | None
) -> None:
    def ask(connection: Any) -> None:
        raise error

    with pytest.raises(ControlError) as refusal:
        bench.looks.ask(ask)
    assert (str(refusal.value), refusal.value.code) == (text, code)
    assert bench.looks.ask(find) == "vm1"


@pytest.mark.parametrize(("code", "exit_code"), [(45, 4), (38, 3)])
def test_who_cannot_even_look_gets_the_exit_code_of_that(bench: Bench, code: int, exit_code: int) -> None:
    bench.daemon.open_error = FakeError(code, "no way", 7)
    with pytest.raises(ControlError) as refusal:
        bench.looks.ask(find)
    assert refusal.value.exit_code == exit_code


def test_a_vm_that_is_gone_and_a_definition_that_cannot_be_read_are_told(bench: Bench) -> None:
    with pytest.raises(ControlError, match="Domain not found") as refusal:
        bench.backend.read_storage(vm_uuid(9))
    assert refusal.value.code == 42
    bench.vm.xml = "<!DOCTYPE x [<!ENTITY e 'e'>]><domain/>"
    with pytest.raises(ControlError, match=r"what libvirt tells of the VM cannot be read: .*declares a document type"):
        bench.backend.read_storage(bench.vm.uuid)
    assert len(bench.daemon.openings) == 1


def test_folders_of_another_host_cannot_be_seen_and_those_of_this_one_only_once_it_is_known(
    bench: Bench, tmp_path: Path
) -> None:
    bench.backend.read_sample()
    assert bench.backend.read_folder(str(tmp_path), "") is None
    pytest.importorskip("libvirt", reason=NO_BINDING)
    elsewhere = LibvirtBackend("test:///default")
    assert elsewhere.read_folder(str(tmp_path), "") is None
    elsewhere.read_sample()
    assert elsewhere.read_folder(str(tmp_path), "") is None, "libvirt's test driver has no real host"
    elsewhere.close()


def test_a_file_of_test_domains_that_is_not_there_is_told_before_libxml_complains(tmp_path: Path) -> None:
    pytest.importorskip("libvirt", reason=NO_BINDING)
    backend = LibvirtBackend(f"test://{tmp_path}/gone.xml")
    with pytest.raises(ControlError, match="there is no file"):
        backend.read_storage(vm_uuid(1))
    backend.close()
