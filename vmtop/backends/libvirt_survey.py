"""What libvirt tells only VM by VM: jobs and definitions.

Such a call may hang with its VM, and calls for all VMs would cost as much as a fifth of the sample itself. So they run
between samples, on a connection of their own, for some of the VMs each time.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

from vmtop.backends.libvirt_job_parse import (
    JobStats,
    add_limits,
    is_end_of,
    parse_block_job,
    parse_finished_job,
    parse_job,
)
from vmtop.backends.libvirt_link import MOST_LEFT, NO_DOMAIN, Link, Links
from vmtop.backends.libvirt_parse import parse_facts_in
from vmtop.backends.libvirt_storage_parse import parse_disks_in
from vmtop.backends.libvirt_xml import parse_xml
from vmtop.model.sample import FinishedJob, JobKind, JobSample, VmFacts

FACTS_S = 60.0
"""A definition is read again after this time: no event tells of a new statistics period."""

NEVER = -math.inf

_INTERNAL_ERROR = 1
"""VIR_ERR_INTERNAL_ERROR."""


@dataclass(slots=True, kw_only=True)
class Known:
    """What calls for one VM alone have brought so far."""

    jobs: tuple[JobSample, ...] = ()
    jobs_asked_s: float = NEVER
    facts: VmFacts | None = None
    facts_reason: str = "its definition was not read yet"
    """Why there are no facts."""
    facts_asked_s: float = NEVER
    disks: tuple[str, ...] = ()
    """Names of the disks in the definition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to ask about one VM."""

    wants_job: bool
    wants_block_jobs: bool
    wants_facts: bool
    disks: tuple[str, ...]
    """As far as known; a definition that is read in the same round tells them anew."""
    followed: tuple[JobSample, ...]
    """Jobs that were there when it was asked last."""


@dataclass(slots=True, kw_only=True)
class Finding:
    """What one round of calls brought for one VM; None where nothing was asked, or the call failed."""

    jobs: tuple[JobSample, ...] | None = None
    ended: JobStats | None = None
    """Statistics of the job that was followed, and is over."""
    name: str = ""
    facts: VmFacts | None = None
    facts_reason: str | None = None
    disks: tuple[str, ...] | None = None


class Surveyor:
    """Keeps jobs and definitions as fresh as is cheap; what it knows outlives connections."""

    def __init__(
        self, binding: Any, links: Links, deadline_s: float, note_end: Callable[[str, str, JobStats], None]
    ) -> None:
        """Take what to talk on, and who is to know of jobs that have ended: gets UUID, name and statistics."""
        self._binding = binding
        self._note_end = note_end
        self._links = links
        self._deadline_s = deadline_s
        self._known: dict[str, Known] = {}
        self._link: Link | None = None
        self._round: Future[None] | None = None
        self._moved_s = 0.0
        """When the round was last seen to get on."""
        self._findings: dict[str, Finding] = {}
        self._facts_of: set[str] = set()

    def known(self, uuid: str) -> Known:
        """What is known of this VM."""
        return self._known.setdefault(uuid, Known())

    def start_anew(self, uuid: str) -> None:
        """Take note that the VM was started: what it did before is over, and its definition may be another."""
        known = self.known(uuid)
        known.jobs, known.jobs_asked_s, known.facts_asked_s = (), NEVER, NEVER

    def ask_jobs_soon(self, uuid: str) -> None:
        """Ask for this VM's jobs in the next round."""
        self.known(uuid).jobs_asked_s = NEVER

    def ask_facts_soon(self, uuid: str) -> None:
        """Ask for this VM's definition in the next round."""
        self.known(uuid).facts_asked_s = NEVER

    def begin(self, now_s: float, *, running: Collection[str], off: Collection[str], turn: int) -> None:
        """Send off a round of calls, unless one is still under way; it is not waited for.

        Args:
            now_s: the monotonic clock.
            running: UUIDs of VMs that run and answer. Those that do not answer are in neither collection.
            off: UUIDs of VMs that do not run.
            turn: how many VMs to ask besides those that are to be asked soon: the ones that wait longest.
        """
        if self._round is not None:
            return
        for uuid in off:
            self.known(uuid).jobs = ()
        # A job that is known is followed at every sample.
        jobs_asked_s = {uuid: NEVER if self.known(uuid).jobs else self.known(uuid).jobs_asked_s for uuid in running}
        facts_asked_s = {uuid: self.known(uuid).facts_asked_s for uuid in (*running, *off)}
        facts_of = choose(facts_asked_s, turn, now_s - FACTS_S)
        jobs_of = choose(jobs_asked_s, turn, now_s) | (facts_of & jobs_asked_s.keys())
        for uuid in jobs_of:
            self.known(uuid).jobs_asked_s = now_s
        for uuid in facts_of:
            self.known(uuid).facts_asked_s = now_s
        if not jobs_of and not facts_of:
            return
        questions = {
            uuid: Question(
                wants_job=uuid in jobs_of,
                # A call for each disk: where something hints at a job, and else as seldom as the definition is read.
                wants_block_jobs=uuid in facts_of or jobs_asked_s[uuid] == NEVER,
                wants_facts=uuid in facts_of,
                disks=self.known(uuid).disks,
                followed=self.known(uuid).jobs,
            )
            for uuid in jobs_of | facts_of
        }
        if self._link is None:
            self._link = self._links.open("vmtop-survey")
        binding = self._binding
        findings: dict[str, Finding] = {}
        self._findings, self._facts_of, self._moved_s = findings, set(facts_of), now_s
        self._round = self._link.submit(lambda connection: survey(binding, connection, questions, findings))

    def wait(self) -> None:
        """Give the round that is under way its deadline."""
        if self._round is not None:
            wait([self._round], self._deadline_s)

    def collect(self, now_s: float) -> None:
        """Take over what the round found so far; one that does not get on for a deadline's time is left behind."""
        if self._round is None or self._link is None:
            return
        is_over = self._round.done()
        while self._findings:
            uuid, finding = self._findings.popitem()
            self._facts_of.discard(uuid)
            self._moved_s = now_s
            _update(self.known(uuid), finding)
            if finding.ended is not None:
                self._note_end(uuid, finding.name, finding.ended)
        if not self._link.opened.done():
            self._moved_s = now_s
        if not is_over and (now_s - self._moved_s <= self._deadline_s or self._links.stuck >= MOST_LEFT):
            return
        try:
            self._round.result(0)
        except (TimeoutError, self._binding.libvirtError):
            # It hangs, or the connection was lost: the next round goes on with another one.
            for uuid in self._facts_of:
                self.ask_facts_soon(uuid)
            self.drop_link()
        self._round = None

    def drop_link(self) -> None:
        """Begin the next round on a new connection."""
        if self._link is not None:
            self._links.abandon(self._link)
        self._link = self._round = None

    def keep(self, uuids: Collection[str]) -> None:
        """Forget all other VMs."""
        for uuid in self._known.keys() - set(uuids):
            del self._known[uuid]


def choose(asked_s: Mapping[str, float], turn: int, before_s: float) -> set[str]:
    """Whom to ask: everybody who is to be asked soon, and some of those who wait longest.

    Args:
        asked_s: UUID -> when it was asked last, or NEVER.
        turn: how many of those who were asked before.
        before_s: those who were asked after this time are left in peace.
    """
    soon = {uuid for uuid, at_s in asked_s.items() if at_s == NEVER}
    waiting = [uuid for uuid, at_s in asked_s.items() if NEVER < at_s <= before_s]
    return soon.union(sorted(waiting, key=lambda uuid: asked_s[uuid])[:turn])


def survey(binding: Any, connection: Any, questions: Mapping[str, Question], findings: dict[str, Finding]) -> None:
    """Ask libvirt about some VMs; each finding is there as soon as it is complete, should a later call hang."""
    for uuid in sorted(questions):
        try:
            domain = connection.lookupByUUIDString(uuid)
        except binding.libvirtError as error:
            if error.get_error_code() != NO_DOMAIN:
                raise
            continue
        question, finding = questions[uuid], Finding(name=domain.name())
        if question.wants_facts:
            _ask_facts(binding, domain, finding)
        if question.wants_job:
            _ask_jobs(binding, domain, question, finding)
        findings[uuid] = finding


def _ask_jobs(binding: Any, domain: Any, question: Question, finding: Finding) -> None:
    followed = next((each for each in question.followed if each.disk is None), None)
    try:
        info = domain.jobInfo()
        job = parse_job(info, _ask_stats(binding, domain, followed)) if info[0] else None
    except binding.libvirtError:
        # It ended in between, something else holds it, or this driver knows no jobs: what is known of it stays.
        return
    block_jobs: Sequence[JobSample] = [each for each in question.followed if each.disk is not None]
    if question.wants_block_jobs:
        disks = question.disks if finding.disks is None else finding.disks
        infos = {disk: _ask_block_job(binding, domain, disk) for disk in disks}
        block_jobs = [each for disk, info in infos.items() if (each := parse_block_job(info, disk)) is not None]
        job = None if job is None else add_limits(job, tuple(infos.values()))
    finding.jobs = (*block_jobs,) if job is None else (job, *block_jobs)
    if followed is not None and (job is None or job.kind is not followed.kind):
        finding.ended = _ask_end(binding, domain, followed)


def _ask_stats(binding: Any, domain: Any, followed: JobSample | None) -> JobStats:
    try:
        stats: JobStats = domain.jobStats()
    except binding.libvirtError as error:
        is_known = followed is not None and followed.kind is not JobKind.OTHER
        if is_known or error.get_error_code() != _INTERNAL_ERROR:
            raise
        # While libvirt 9.0 deletes a snapshot it knows only that something runs.
        return {}
    return stats


def _ask_block_job(binding: Any, domain: Any, disk: str) -> Mapping[str, int]:
    try:
        info: Mapping[str, int] = domain.blockJobInfo(disk, binding.VIR_DOMAIN_BLOCK_JOB_INFO_BANDWIDTH_BYTES)
    except binding.libvirtError:
        # The disk was unplugged, or this driver knows no block jobs.
        return {}
    return info


def _ask_end(binding: Any, domain: Any, followed: JobSample) -> JobStats | None:
    """How a job ended, should no event tell: some kinds have none, and a new connection misses what was before it."""
    try:
        stats: JobStats = domain.jobStats(
            binding.VIR_DOMAIN_JOB_STATS_COMPLETED | binding.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
        )
    except (binding.libvirtError, AttributeError):
        return None
    # libvirt tells of the last job that left statistics, which may be one from long ago.
    return stats if is_end_of(followed, stats) else None


def read_last_job(binding: Any, connection: Any, uuid: str, now_s: float) -> FinishedJob | None:
    """How the last job of a VM that left statistics ended; `virsh domjobinfo VM --completed --keep-completed`.

    Args:
        binding: the libvirt module.
        connection: where to ask; it may be a read-only one.
        uuid: of the VM.
        now_s: wall clock; libvirt does not tell when it ended.

    Raises:
        libvirtError: the VM is gone, or does not answer.
    """
    domain = connection.lookupByUUIDString(uuid)
    stats = domain.jobStats(binding.VIR_DOMAIN_JOB_STATS_COMPLETED | binding.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED)
    return parse_finished_job(uuid, domain.name(), stats, now_s)


def _ask_facts(binding: Any, domain: Any, finding: Finding) -> None:
    try:
        definition = parse_xml(domain.XMLDesc(0))
        finding.facts = parse_facts_in(definition)
        finding.disks = tuple(disk.target for disk in parse_disks_in(definition))
    except binding.libvirtError as error:
        finding.facts_reason = f"libvirt did not tell the definition: {error.get_error_message()}"
    except ValueError as error:
        finding.facts_reason = f"the definition cannot be read: {error}"


def _update(known: Known, finding: Finding) -> None:
    if finding.jobs is not None:
        known.jobs = finding.jobs
    if finding.disks is not None:
        known.disks = finding.disks
    if finding.facts is not None:
        known.facts = finding.facts
    elif finding.facts_reason is not None:
        known.facts, known.facts_reason = None, finding.facts_reason
