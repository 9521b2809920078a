"""What the host swaps: VmSwap, swap in use and its rate, against /proc."""

from pathlib import Path

import pytest

from tests.hypervisor.guest_spec import GuestSpec, Hog
from tests.hypervisor.host_swap import host_swap, missing_for_swap, page_out
from tests.hypervisor.lab import HostLab
from vmtop.backends.clock import SystemClock
from vmtop.backends.libvirt_read import LibvirtBackend
from vmtop.derive.frame import Frame
from vmtop.model.policy import DEFAULT_POLICY
from vmtop.pipeline import Pipeline
from vmtop.units import KIB, MIB

LEAST_SWAPPED_BYTES = 16 * MIB


def vm_swap_bytes(pid: int) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmSwap:"))
    return int(line.split()[1]) * KIB


def host_swap_used_bytes() -> int:
    return sum(int(line.split()[3]) * KIB for line in Path("/proc/swaps").read_text().splitlines()[1:])


def tick(pipeline: Pipeline) -> Frame:
    reading = pipeline.tick(1.0)
    assert reading.failure is None
    assert reading.frame is not None
    return reading.frame


@pytest.mark.skipif(missing_for_swap() is not None, reason=str(missing_for_swap()))
def test_what_the_host_swaps_is_told_as_proc_tells_it(lab: HostLab) -> None:
    spec = GuestSpec(name="swapped", memory_mib=160, hog=Hog(mib=64, content="random", touch_every_s=0.5))
    with lab.running(spec) as (guest,), host_swap(512):
        backend = LibvirtBackend(lab.uri)
        pipeline = Pipeline(backend, DEFAULT_POLICY, SystemClock())
        before = tick(pipeline)
        assert guest.pid is not None
        page_out(guest.pid)
        # A guest that stands still swaps nothing in, so both sides look at the same moment.
        guest.domain.suspend()
        page_out(guest.pid)
        frame = tick(pipeline)
        (vm,) = [vm for vm in frame.vms if vm.uuid == guest.uuid]
        assert vm.host_swap_bytes == vm_swap_bytes(guest.pid)
        assert vm.host_swap_bytes >= LEAST_SWAPPED_BYTES
        assert frame.host.swap_used_bytes == pytest.approx(host_swap_used_bytes(), abs=2 * MIB)
        assert frame.host.swap_out_bytes_per_s is not None
        elapsed_s = frame.sample.monotonic_s - before.sample.monotonic_s
        assert frame.host.swap_out_bytes_per_s * elapsed_s >= LEAST_SWAPPED_BYTES
        backend.close()
