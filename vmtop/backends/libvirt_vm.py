"""A VM from sample to sample: what libvirt tells now, joined with what it told before and what /proc tells."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vmtop.backends.libvirt_bulk import Row
from vmtop.backends.libvirt_parse import parse_bytes, parse_guest, parse_state
from vmtop.backends.libvirt_survey import Known
from vmtop.backends.procfs_qemu import QemuProcess
from vmtop.model.sample import Answer, GuestSample, JobKind, JobSample, QemuSample, VmSample, VmState

_JOB_REASONS = frozenset({"migrating", "saving", "dumping", "creating snapshot", "post-copy"})
_SAVING = "saving"
_OFF = "the VM is not running"
_NOT_TOLD = "libvirt does not tell it"
_NOT_ANSWERED = {
    Answer.HUNG: "QEMU has not answered since vmtop began to ask",
    Answer.BUSY: "another job has held the VM since vmtop began to ask",
    Answer.NOT_ASKED: "libvirt could not be asked for it yet",
}


@dataclass(slots=True, kw_only=True)
class Run:
    """What is remembered of one run of a VM; it begins anew when the VM is started again."""

    domain_id: int | None
    state: VmState = VmState.NO_STATE
    state_reason: str | None = None
    is_held: bool = False
    """The VM is hung or busy, or could not be asked."""
    may_have_new_job: bool = False
    """A job began or ended since the sample before, as far as one can see."""
    is_sending: bool = False
    """The guest has sent new figures since the sample before."""
    maximum_bytes: int | None = None
    balloon_bytes: int | None = None
    rss_bytes: int | None = None
    guest: GuestSample | None = None
    guest_unknown: Mapping[str, str] = field(default_factory=dict)
    process: QemuProcess | None = None
    qemu: QemuSample | None = None
    qemu_unknown: Mapping[str, str] = field(default_factory=dict)

    def read_process(self) -> None:
        """Read the VM's process, as long as there is one."""
        if self.process is not None:
            unknown: dict[str, str] = {}
            self.qemu, self.qemu_unknown = self.process.read(unknown), unknown
            if self.qemu is None:
                self.process = None

    def update(self, row: Row) -> None:
        """Take over what libvirt told; figures that it kept back this time stay as they were."""
        was_held, self.is_held = self.is_held, not row.is_full
        self.state, self.state_reason = parse_state(row.stats)
        was_touched = self.process is not None and self.process.was_touched()
        self.may_have_new_job = was_touched or was_held or self.state_reason in _JOB_REASONS
        if "balloon.maximum" in row.stats:
            self.maximum_bytes = parse_bytes(row.stats, "balloon.maximum")
            self.balloon_bytes = parse_bytes(row.stats, "balloon.current")
        if row.is_full:
            unknown: dict[str, str] = {}
            guest = parse_guest(row.stats, unknown)
            self.is_sending = (
                guest is not None and self.guest is not None and guest.last_update_s > self.guest.last_update_s
            )
            self.guest, self.guest_unknown = guest, unknown
            self.rss_bytes = parse_bytes(row.stats, "balloon.rss")
        elif self.qemu is not None and self.qemu.rss_bytes is not None:
            self.rss_bytes = self.qemu.rss_bytes


def build_running_vm(row: Row, run: Run, known: Known, no_process: str) -> VmSample:
    """A VM that runs, or is paused.

    Args:
        row: what libvirt told now.
        run: what is remembered, `row` included.
        known: what calls for this VM alone brought.
        no_process: why nothing is known of its process, if that is so.
    """
    unknown = {**run.qemu_unknown, **run.guest_unknown}
    if run.qemu is None:
        unknown["qemu"] = no_process
    if known.facts is None:
        unknown["facts"] = known.facts_reason
    for field_name in ("maximum_bytes", "balloon_bytes", "rss_bytes", "guest"):
        if getattr(run, field_name) is None:
            unknown.setdefault(field_name, _NOT_ANSWERED.get(row.answer, _NOT_TOLD))
    return VmSample(
        uuid=row.uuid,
        name=row.name,
        domain_id=row.domain_id,
        state=run.state,
        state_reason=run.state_reason,
        answer=row.answer,
        hung_s=row.owed_ms / 1000 if row.answer is Answer.HUNG and row.owed_ms is not None else None,
        maximum_bytes=run.maximum_bytes,
        balloon_bytes=run.balloon_bytes,
        rss_bytes=run.rss_bytes,
        guest=run.guest,
        qemu=run.qemu,
        facts=known.facts,
        jobs=known.jobs or _unaskable_jobs(row, run),
        unknown=unknown,
    )


def _unaskable_jobs(row: Row, run: Run) -> tuple[JobSample, ...]:
    """An internal snapshot: the only job that saves a VM and lets nobody ask about it meanwhile."""
    if row.answer is Answer.BUSY and run.state is VmState.PAUSED and run.state_reason == _SAVING:
        return (JobSample(kind=JobKind.SNAPSHOT, elapsed_s=None, processed_bytes=None, total_bytes=None),)
    return ()


def build_off_vm(row: Row, known: Known) -> VmSample:
    """A VM that does not run: sizes and definition are all there is."""
    state, state_reason = parse_state(row.stats)
    maximum_bytes, balloon_bytes = parse_bytes(row.stats, "balloon.maximum"), parse_bytes(row.stats, "balloon.current")
    unknown = dict.fromkeys(("rss_bytes", "guest", "qemu"), _OFF)
    if known.facts is None:
        unknown["facts"] = known.facts_reason
    if maximum_bytes is None:
        unknown["maximum_bytes"] = _NOT_TOLD
    if balloon_bytes is None:
        unknown["balloon_bytes"] = _NOT_TOLD
    return VmSample(
        uuid=row.uuid,
        name=row.name,
        domain_id=None,
        state=state,
        state_reason=state_reason,
        answer=Answer.FULL,
        hung_s=None,
        maximum_bytes=maximum_bytes,
        balloon_bytes=balloon_bytes,
        rss_bytes=None,
        guest=None,
        qemu=None,
        facts=known.facts,
        unknown=unknown,
    )
