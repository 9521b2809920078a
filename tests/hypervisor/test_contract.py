"""Real guests keep the same contract as every other backend."""

from tests.contract import check_contract
from tests.hypervisor.conftest import StartGuests
from tests.hypervisor.guest_spec import GuestSpec
from tests.hypervisor.lab import HostLab
from vmtop.backends.libvirt_read import LibvirtBackend
from vmtop.model.sample import VmState


def test_real_guests_of_every_kind_keep_the_contract(lab: HostLab, start_guests: StartGuests) -> None:
    guests = start_guests(
        GuestSpec(name="plain", memory_mib=96),
        GuestSpec(name="no-device", memory_mib=96, balloon="none"),
        GuestSpec(name="no-driver", memory_mib=96, has_balloon_driver=False),
        GuestSpec(name="no-period", memory_mib=96, stats_period_s=None),
        GuestSpec(name="paused", memory_mib=96, paused=True),
        GuestSpec(name="[red]x[@click=app.quit] \u202e\u200b漢", memory_mib=96),
        GuestSpec(name="off", memory_mib=96),
    )
    guests[-1].shut_off()
    backend = LibvirtBackend(lab.uri)
    _, later = check_contract(backend, least_vms=len(guests))
    backend.close()
    states = {vm.name: vm.state for vm in later.vms}
    assert states["off"] is VmState.SHUTOFF
    assert states["paused"] is VmState.PAUSED
    assert {guest.name for guest in guests} <= set(states)
