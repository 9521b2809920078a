"""libvirt as a source of samples: any host that runs VMs, here or elsewhere, read-only.

Each sample is one bulk call (`libvirt_bulk`), during which the calling thread reads /proc and /sys (`procfs_host`,
`procfs_qemu`). What can only be asked VM by VM is asked between samples (`libvirt_survey`), the sooner where libvirt
announces a change (`libvirt_events`). Here the answers are joined with what was known before.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vmtop.backends.backup_folder import read_backups
from vmtop.backends.base import Clock, FaultControl
from vmtop.backends.clock import SystemClock
from vmtop.backends.folder import read_folder
from vmtop.backends.libvirt_bulk import BulkReader, Reply, Request, Row, RowReader
from vmtop.backends.libvirt_control import LibvirtControl, ability
from vmtop.backends.libvirt_events import Bulletin, start_event_loop
from vmtop.backends.libvirt_host import Node, build_remote_host, read_node, why_elsewhere
from vmtop.backends.libvirt_link import (
    MOST_LEFT,
    Link,
    Links,
    check_test_file,
    explain,
    load_binding,
    parse_uri,
    pid_folders,
)
from vmtop.backends.libvirt_look import Looks
from vmtop.backends.libvirt_storage import read_storage
from vmtop.backends.libvirt_survey import Surveyor, read_last_job
from vmtop.backends.libvirt_vm import Run, build_off_vm, build_running_vm
from vmtop.backends.procfs_host import HostReader, read_here
from vmtop.backends.procfs_qemu import QemuFinder
from vmtop.errors import ConnectError, ControlError
from vmtop.model.recovery import BackupFolder
from vmtop.model.sample import FinishedJob, HostSample, Sample, VmSample
from vmtop.model.storage import FolderSample, StorageSample

OFF_S = 10.0
"""VMs that are off are listed again after this time, and whenever a VM seems to have come or gone."""

TURN_RATIO_HERE, TURN_RATIO_ELSEWHERE = 1 / 30, 1 / 5
"""Share of the VMs that are asked for jobs after each sample though nothing hints at one."""

OPENING_S = 30.0
"""An attempt to connect that has not ended after this time is left behind, and a new one made."""

MOST_STUCK = 3 * MOST_LEFT
"""With so many calls stuck, of whatever kind, nothing new is tried until some of them end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """What holds from connecting to disconnecting."""

    bulk: BulkReader
    node: Node
    host_reader: HostReader | None
    """None when /proc here does not tell about the node."""
    has_processes: bool
    """The VMs are QEMU processes that can be seen in /proc here."""
    why_no_more: str
    """Why nothing is known of a VM's process, or of this node beyond what libvirt tells."""


class LibvirtBackend:
    """Reads a libvirt daemon; connects, and connects again, when it is read."""

    name = "libvirt"
    is_simulated = False
    fault_control: FaultControl | None = None
    began_s: float | None = None

    def __init__(
        self,
        uri: str,
        *,
        deadline_s: float = 1.5,
        connect_s: float = 5.0,
        clock: Clock | None = None,
        proc_root: Path = Path("/"),
        binding: Any = None,
    ) -> None:
        """Prepare to read; nothing is opened yet.

        Args:
            uri: libvirt's name for the source, such as qemu:///system.
            deadline_s: how long a call may take before it is treated as one that hangs.
            connect_s: how long a reading waits for a connection; the attempt goes on, and the next reading waits again.
            clock: where the time comes from.
            proc_root: the folder that holds /proc, /sys and /run.
            binding: the libvirt module; None imports it.

        Raises:
            MissingBindingError: libvirt cannot be imported.
            ConnectError: the URI is none.
        """
        self.uri = uri
        self._deadline_s = deadline_s
        self._connect_s = connect_s
        self._clock = SystemClock() if clock is None else clock
        self._target = parse_uri(uri)
        self._binding = load_binding() if binding is None else binding
        self._links = Links(self._binding, self._target)
        self._looks = Looks(self._binding, self._target)
        self.capability = ability(self._target)
        self._bulletin = Bulletin(self._clock.time)
        self._surveyor = Surveyor(self._binding, self._links, deadline_s, self._bulletin.note_found_end)
        self._root = proc_root
        self._finder = QemuFinder(proc_root, pid_folders(self._target, proc_root))
        self._opening: Link | None = None
        self._opening_s = 0.0
        self._source: _Source | None = None
        self._is_here = False
        """The VMs are on this machine, as far as was known when the source was last reached."""
        self._runs: dict[str, Run] = {}
        self._off: Sequence[Row] = ()
        self._off_read_s = -OFF_S

    def on_change(self, notify: Callable[[], None]) -> None:
        """Have `notify` called, from libvirt's thread of events, when VMs come, go or end a job, or the daemon goes."""
        self._bulletin.on_change(notify)

    def read_storage(self, uuid: str) -> StorageSample:
        """Disks, snapshots, checkpoints and agent of a VM as they are now, while readings go on.

        Raises:
            ControlError: they cannot be read.
        """

        def look(connection: Any) -> StorageSample:
            node, elsewhere = self._look_where(connection)
            return read_storage(
                self._binding,
                connection,
                uuid,
                elsewhere=elsewhere,
                now_s=self._clock.monotonic(),
                is_qemu=node.is_qemu,
            )

        return self._looks.ask(look)

    def read_folder(self, path: str, inner: str) -> FolderSample | None:
        """A folder on this machine, with the names in a folder inside it. None unless the VMs are known to be here."""
        return read_folder(path, inner) if self._is_here else None

    def read_backups(self, folder: str, uuid: str) -> BackupFolder:
        """The backups of a VM that vmtop made below a folder on this machine.

        Raises:
            ControlError: the VMs are on another machine, or the folder cannot be read.
        """
        if not self._is_here:
            raise ControlError(f"{folder} is on the host of {self.uri}, and cannot be seen from here")
        return read_backups(folder, uuid)

    def read_last_job(self, uuid: str) -> FinishedJob | None:
        """How the last job of a VM ended; see `Backend`."""
        return self._looks.ask(lambda connection: read_last_job(self._binding, connection, uuid, self._clock.time()))

    def open_control(self) -> LibvirtControl:
        """What changes VMs here, on connections of its own.

        Raises:
            ControlError: vmtop does not change VMs of this driver.
        """
        if self.capability.is_readonly:
            raise ControlError(f"vmtop only looks at VMs of {self.uri}: it was never tried to change any there")
        return LibvirtControl(self._binding, self._target, note_act=self._bulletin.note_act)

    def close(self) -> None:
        """Let go of all connections; those that hang close when their calls end."""
        self._links.close()
        self._looks.close()

    def read_sample(self) -> Sample:
        """Read everything once; see `Backend`.

        Raises:
            ConnectError: there is no connection, or the daemon does not answer.
            AccessError: libvirt refuses us.
            BackendError: the reading failed in another way.
        """
        self._links.check_open()
        began_s = self._clock.monotonic()
        is_first = self._source is None
        source = self._connect() if self._source is None else self._source
        self._source = source
        self._is_here = source.host_reader is not None
        with self._explained(is_opening=False):
            host, reply = self._read(source, began_s)
        self._join(source, reply.running, began_s)
        self._survey(source, reply.running, began_s, is_first=is_first)
        return Sample(
            time_s=self._clock.time(),
            monotonic_s=self._clock.monotonic(),
            read_s=self._clock.monotonic() - began_s,
            backend=self.name,
            uri=self.uri,
            is_simulated=self.is_simulated,
            is_local=source.host_reader is not None,
            host=host,
            vms=self._build_vms(source, reply.running),
            finished=self._bulletin.take_finished(),
            notices=() if reply.hindrance is None else (reply.hindrance,),
        )

    def _connect(self) -> _Source:
        if self._links.stuck >= MOST_STUCK:
            raise ConnectError(f"{self.uri}: {self._links.stuck} calls hang; no more are tried until some of them end")
        check_test_file(self._target)
        start_event_loop(self._binding)
        sampler = self._open_sampler()
        binding = self._binding
        side = self._links.open("vmtop-side", lambda connection: self._bulletin.subscribe(binding, connection))
        with self._explained(is_opening=True):
            node, elsewhere = side.ask(self._look_where, self._connect_s)
        self.capability = replace(self.capability, has_events=self._bulletin.has_events)
        no_process = "no process with this UUID is visible here" if node.is_qemu else "the VM is no QEMU process"
        reader = RowReader(binding, is_qemu=node.is_qemu)
        return _Source(
            bulk=BulkReader(reader, self._links, sampler, side, self._deadline_s),
            node=node,
            host_reader=HostReader(self._root) if elsewhere is None else None,
            has_processes=elsewhere is None and node.is_qemu,
            why_no_more=elsewhere or no_process,
        )

    def _look_where(self, connection: Any) -> tuple[Node, str | None]:
        node = read_node(self._binding, connection)
        # To resolve a name may take as long as any call.
        return node, why_elsewhere(node, self._target, read_here(self._root))

    def _open_sampler(self) -> Link:
        now_s = self._clock.monotonic()
        if self._opening is not None and now_s - self._opening_s > OPENING_S:
            self._links.abandon(self._opening)
            self._opening = None
        if self._opening is None:
            self._opening = self._links.open("vmtop-bulk")
            self._opening_s = now_s
        link = self._opening
        try:
            link.opened.result(self._connect_s)
        except TimeoutError:
            waited_s = self._clock.monotonic() - self._opening_s
            raise ConnectError(f"{self.uri} has not answered for {waited_s:.0f} s; still waiting for it") from None
        except self._binding.libvirtError as error:
            self._links.abandon(link)
            raise explain(error, self._target, is_opening=True) from error
        finally:
            if link.opened.done():
                self._opening = None
        return link

    @contextmanager
    def _explained(self, *, is_opening: bool) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            self._disconnect()
            raise ConnectError(f"{self.uri} does not answer any more; connecting again") from None
        except self._binding.libvirtError as error:
            self._disconnect()
            raise explain(error, self._target, is_opening=is_opening) from error

    def _disconnect(self) -> None:
        self._surveyor.drop_link()
        self._links.abandon_all()
        self._source = None

    def _read(self, source: _Source, now_s: float) -> tuple[HostSample, Reply]:
        change = self._bulletin.take()
        for uuid in change.definitions:
            self._surveyor.ask_facts_soon(uuid)
        for uuid in change.definitions | change.jobs:
            self._surveyor.ask_jobs_soon(uuid)
        wants_off = bool(change.definitions) or now_s - self._off_read_s >= OFF_S
        source.bulk.begin(Request(wants_off=wants_off, wants_node=source.host_reader is None))
        # Meanwhile libvirt asks the VMs, which takes far longer than what this thread does.
        local_host = source.host_reader.read(source.node.name, now_s) if source.host_reader is not None else None
        for run in self._runs.values():
            run.read_process()
        reply = source.bulk.finish()
        off = reply.off
        if off is None and self._runs.keys() - {row.uuid for row in reply.running}:
            off = source.bulk.read_off()
        if off is not None:
            self._off, self._off_read_s = off, now_s
        if local_host is not None:
            return local_host, reply
        return build_remote_host(source.node, reply.node_memory, reply.node_ksm, source.why_no_more), reply

    def _join(self, source: _Source, rows: Sequence[Row], now_s: float) -> None:
        """Bring what is remembered up to date with what was read."""
        runs = {}
        for row in rows:
            run = self._runs.get(row.uuid)
            if run is None or run.domain_id != row.domain_id:
                run = Run(domain_id=row.domain_id)
                self._surveyor.start_anew(row.uuid)
            if run.process is None and source.has_processes:
                run.process = self._finder.find(row.uuid, row.name, now_s)
                run.read_process()
            run.update(row)
            if run.may_have_new_job:
                self._surveyor.ask_jobs_soon(row.uuid)
            facts = self._surveyor.known(row.uuid).facts
            if run.is_sending and facts is not None and facts.stats_period_s == 0:
                # Somebody set a statistics period, of which no event tells.
                self._surveyor.ask_facts_soon(row.uuid)
            runs[row.uuid] = run
        self._runs = runs
        self._off = [row for row in self._off if row.uuid not in runs]

    def _survey(self, source: _Source, rows: Sequence[Row], now_s: float, *, is_first: bool) -> None:
        self._surveyor.keep({row.uuid for row in (*rows, *self._off)})
        self._surveyor.collect(now_s)
        answering = [row.uuid for row in rows if row.is_full]
        # Where /proc shows that something was done with a VM, asking all of them in turn is but a safety net.
        ratio = TURN_RATIO_HERE if source.has_processes else TURN_RATIO_ELSEWHERE
        self._surveyor.begin(
            now_s, running=answering, off=[row.uuid for row in self._off], turn=math.ceil(ratio * len(answering))
        )
        if is_first:
            self._surveyor.wait()
            self._surveyor.collect(now_s)

    def _build_vms(self, source: _Source, rows: Sequence[Row]) -> tuple[VmSample, ...]:
        known = self._surveyor.known
        return (
            *(build_running_vm(row, self._runs[row.uuid], known(row.uuid), source.why_no_more) for row in rows),
            *(build_off_vm(row, known(row.uuid)) for row in self._off),
        )
