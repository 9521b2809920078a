"""Backups in the folders of a simulated host."""

from tests.clocks import HandClock
from vmtop.backends.simulator.backend import SimulatorBackend
from vmtop.derive.recovery import derive_points
from vmtop.model.kind import BackupKind
from vmtop.model.storage import BackupRequest

NAME = "mysql-01"


def back_up(backend: SimulatorBackend, clock: HandClock, uuid: str, stamp: str, since: str | None = None) -> None:
    kind = "full" if since is None else "inc"
    backend.open_control().start_backup(
        uuid,
        BackupRequest(
            targets={"vda": f"/backup/{NAME}/{stamp}.{kind}.vda.qcow2"},
            formats={"vda": "qcow2"},
            checkpoint=f"vmtop-{stamp}",
            since=None if since is None else f"vmtop-{since}",
        ),
    )
    for _ in range(2_000):
        clock.sleep(1)
        sample = backend.read_sample()
        if not next(vm for vm in sample.vms if vm.uuid == uuid).jobs:
            return
    raise AssertionError("the backup did not end")


def test_complete_backups_are_found_in_their_folder_with_what_they_stand_on() -> None:
    clock = HandClock()
    backend = SimulatorBackend("overcommit", clock=clock)
    uuid = next(vm.uuid for vm in backend.read_sample().vms if vm.name == NAME)
    assert backend.read_backups("/backup", uuid).backups == ()
    back_up(backend, clock, uuid, "20260105T120000Z")
    back_up(backend, clock, uuid, "20260105T130000Z", since="20260105T120000Z")
    full, incremental = backend.read_backups("/backup", uuid).backups
    assert (full.record.kind, full.record.time_s, full.folder) == (BackupKind.FULL, 1767614400, f"/backup/{NAME}")
    assert 0 < incremental.size_bytes < full.size_bytes
    assert incremental.record.since == full.record.stamp
    points = derive_points((full, incremental))
    assert [(point.problem, len(point.chain)) for point in points] == [(None, 1), (None, 2)]


def test_other_folders_and_other_vms_have_none_of_them() -> None:
    clock = HandClock()
    backend = SimulatorBackend("overcommit", clock=clock)
    vms = {vm.name: vm.uuid for vm in backend.read_sample().vms}
    back_up(backend, clock, vms[NAME], "20260105T120000Z")
    assert len(backend.read_backups("/backup/", vms[NAME]).backups) == 1
    assert backend.read_backups("/back", vms[NAME]).backups == ()
    assert backend.read_backups("/backup", vms["db-01"]).backups == ()
