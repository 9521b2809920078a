"""A libvirt daemon of one's own, which can be killed, stopped and restarted while its guests live on."""

import importlib
import os
import pwd
import signal
import socket
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import psutil

from tests.hypervisor import process
from tests.hypervisor.errors import LabError
from tests.hypervisor.guest_image import find_command
from tests.hypervisor.keeper import Keeper
from tests.hypervisor.waiting import wait_until

DEADLINE_S: Final = 60.0

HOMES: Final = {
    "HOME": ".",
    "XDG_RUNTIME_DIR": "run",
    "XDG_CONFIG_HOME": "config",
    "XDG_CACHE_HOME": "cache",
    "XDG_DATA_HOME": "data",
}
"""All that ties a session daemon to its user's folders."""


class Daemon:
    """A session daemon, apart from the system's and the user's.

    Started by root, it runs as nobody: a daemon that may open /dev/kvm looks QEMU up again at every turn where KVM does
    not work, which takes seconds.
    """

    def __init__(self, keeper: Keeper, folder: Path) -> None:
        """Prepare its folders.

        Args:
            keeper: becomes the parent of the daemon and of its QEMUs.
            folder: empty, and its path short: those of sockets have at most 107 bytes.
        """
        self._keeper: Final = keeper
        self._folder: Final = folder
        self._log: Final = folder / "libvirtd.log"
        self._socket: Final = folder / "run/libvirt/libvirt-sock"
        self._user: Final = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self._pid: int | None = None
        for name in HOMES.values():
            (folder / name / "libvirt").mkdir(parents=True)
        # QEMU writes consoles itself, so that there is no virtlogd to look after.
        (folder / "config/libvirt/qemu.conf").write_text('stdio_handler = "file"\n')
        for path in (folder, *folder.rglob("*")):
            self.give(path)

    @property
    def libvirt(self) -> ModuleType:
        """The binding, imported late: where there is none, tests are still collected, and skipped."""
        return importlib.import_module("libvirt")

    @property
    def uri(self) -> str:
        """What to connect to."""
        return f"qemu:///session?socket={self._socket}"

    @property
    def pid(self) -> int | None:
        """Its process; None while it is down."""
        return self._pid if self._pid is not None and process.is_alive(self._pid) else None

    def connect(self) -> Any:
        """Open a connection with write access; it closes when the last object made from it is gone."""
        return self.libvirt.open(self.uri)

    def give(self, path: Path) -> None:
        """Make the daemon's user the owner of a file or folder."""
        if self._user is not None:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def start(self) -> None:
        """Start it and wait until it answers."""
        if self.pid is not None:
            raise LabError("the daemon runs already")
        self._pid = self.start_beside(
            find_command("libvirtd"), "--timeout=0", "--pid-file", str(self._folder / "run/libvirtd.pid")
        )
        wait_until(self._is_listening, "the libvirt daemon to listen", DEADLINE_S)
        wait_until(self._answers, "the libvirt daemon to answer", DEADLINE_S)

    def start_beside(self, *command: str) -> int:
        """Start another process as the daemon's user, which ends with the lab at the latest, and return its pid."""
        return self._keeper.start(
            command,
            environment={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "LC_ALL": "C",
                **{variable: str(self._folder / name) for variable, name in HOMES.items()},
            },
            user=self._user.pw_uid if self._user else None,
            group=self._user.pw_gid if self._user else None,
            log=self._log,
        )

    def stop(self) -> None:
        """Stop it as an upgrade does, with SIGTERM."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    def hang(self) -> None:
        """Stop it with SIGSTOP: it listens, but does not answer."""
        process.hang(self._running())

    def wake(self) -> None:
        """Let it go on; no matter if it was not stopped."""
        process.wake(self._running())

    def recover(self) -> None:
        """Have it running, whatever a test has done to it."""
        if self.pid is None:
            self.start()
        else:
            self.wake()

    def _running(self) -> int:
        if (pid := self.pid) is None:
            raise LabError("the daemon is down")
        return pid

    def _end(self, number: signal.Signals) -> None:
        pid = self._running()
        daemon = psutil.Process(pid)
        daemon.send_signal(number)
        with suppress(psutil.NoSuchProcess):  # one that was stopped takes SIGTERM only when it goes on
            daemon.resume()
        wait_until(lambda: not process.is_alive(pid), "the libvirt daemon to end", DEADLINE_S)

    def _answers(self) -> bool:
        """One that found running VMs may drop a connection or two before it has asked them all."""
        try:
            self.connect()
        except self.libvirt.libvirtError:
            return False
        return True

    def _is_listening(self) -> bool:
        if self.pid is None:
            raise LabError(f"the libvirt daemon died: {self._log.read_text(errors='replace')[-2000:]}")
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self._socket)) == 0
