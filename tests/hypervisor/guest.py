"""One real guest: what it says about itself, and what can be done to it."""

import itertools
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from tests.hypervisor import process
from tests.hypervisor.daemon import Daemon
from tests.hypervisor.errors import LabError
from tests.hypervisor.guest_spec import GuestFiles, GuestSpec, build_domain_xml
from tests.hypervisor.truth import GuestTruth, parse_done, parse_truth
from tests.hypervisor.waiting import wait_until

Answer = TypeVar("Answer")

BOOT_DEADLINE_S: Final = 90.0
ORDER_DEADLINE_S: Final = 60.0
TRUTH_DEADLINE_S: Final = 30.0


class Guest:
    """A guest that libvirt knows, running or not."""

    def __init__(self, daemon: Daemon, spec: GuestSpec, files: GuestFiles) -> None:
        """Define it; `start` starts it."""
        self.spec: Final = spec
        self.files: Final = files
        self._daemon: Final = daemon
        self._order_numbers: Final = itertools.count(len(spec.first_orders) + 1)
        self.uuid: Final[str] = daemon.connect().defineXML(build_domain_xml(spec, files)).UUIDString()

    @property
    def name(self) -> str:
        """libvirt's name."""
        return self.spec.name

    @property
    def domain(self) -> Any:
        """libvirt's handle, with write access, on a connection of its own."""
        return self._daemon.connect().lookupByUUIDString(self.uuid)

    @property
    def pid(self) -> int | None:
        """The QEMU process; None if there is none."""
        try:
            pid = int(self.files.pid.read_text())
        except FileNotFoundError:
            return None
        return pid if process.is_alive(pid) else None

    def start(self) -> None:
        """Start it and return at once; see `wait_until_ready`."""
        self.files.records.unlink(missing_ok=True)
        self.files.console.unlink(missing_ok=True)
        self.domain.createWithFlags(self._daemon.libvirt.VIR_DOMAIN_START_PAUSED if self.spec.paused else 0)

    def wait_until_ready(self, deadline_s: float = BOOT_DEADLINE_S) -> None:
        """Wait until it has carried out its first orders and reported.

        Raises:
            LabError: an order failed, the guest died, or it took too long.
        """
        for number, order in enumerate(self.spec.first_orders, start=1):
            self._wait_until_done(number, order, deadline_s)
        self._wait_until(self.truth, "the first report", deadline_s)

    def truth(self) -> list[GuestTruth]:
        """Return all that it has reported since it was started, newest last."""
        return parse_truth(_read(self.files.records))

    def wait_for_truth(
        self, condition: Callable[[GuestTruth], bool] = lambda _: True, deadline_s: float = TRUTH_DEADLINE_S
    ) -> GuestTruth:
        """Return the first report from now on that meets a condition.

        Raises:
            LabError: there was none in time, or the guest died.
        """
        known = len(self.truth())
        return self._wait_until(
            lambda: next((truth for truth in self.truth()[known:] if condition(truth)), None),
            "a report that meets the condition",
            deadline_s,
        )

    def order(self, order: str, deadline_s: float = ORDER_DEADLINE_S) -> None:
        """Have it carry out a line of shell, and wait until it has; `inside/init` has functions for it.

        Raises:
            LabError: the order failed, the guest died, or it took too long.
        """
        if "\n" in order:
            raise ValueError("an order is one line")
        number = next(self._order_numbers)
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.files.orders))
            line.sendall(f"{number} {order}\n".encode())
            # Hanging up earlier would lose what the guest has not read yet.
            self._wait_until_done(number, order, deadline_s)

    def console(self) -> str:
        """Return what its kernel and its orders have printed."""
        return _read(self.files.console)

    def hang(self) -> None:
        """Stop its QEMU with SIGSTOP, which libvirt does not notice."""
        process.hang(self._running())

    def wake(self) -> None:
        """Let its QEMU go on; no matter if it was not stopped."""
        process.wake(self._running())

    def shut_off(self) -> None:
        """Pull the plug; libvirt still knows it. No matter if it is off already."""
        if self.pid is None:
            return
        self.wake()
        libvirt = self._daemon.libvirt
        try:
            self.domain.destroy()
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:  # it ended by itself in between
                raise

    def undefine(self) -> None:
        """Shut it off and have libvirt forget it; no matter if somebody else did so already."""
        libvirt = self._daemon.libvirt
        flags = (
            libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
            | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        )
        self.shut_off()
        try:
            self.domain.undefineFlags(flags)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
        shutil.rmtree(self.files.folder)

    def _running(self) -> int:
        if (pid := self.pid) is None:
            raise LabError(f"{self.name!r} does not run")
        return pid

    def _wait_until_done(self, number: int, order: str, deadline_s: float) -> None:
        def find_status() -> tuple[int] | None:
            status = parse_done(_read(self.files.records)).get(number)
            return None if status is None else (status,)  # in a tuple, for the hoped-for 0 is not true

        (status,) = self._wait_until(find_status, f"the end of order {order!r}", deadline_s)
        if status != 0:
            raise LabError(f"{self.name!r}: order {order!r} exited with {status}: {self.console()[-2000:]}")

    def _wait_until(self, condition: Callable[[], Answer | None], what: str, deadline_s: float) -> Answer:
        def ask() -> Answer | None:
            answer = condition()
            if not answer and (self.pid is None or "Kernel panic" in self.console()):
                raise LabError("it died")
            return answer

        try:
            return wait_until(ask, what, deadline_s)
        except LabError as error:
            raise LabError(f"{self.name!r}, {what}: {error}; its console ends with: {self.console()[-2000:]}") from None


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
