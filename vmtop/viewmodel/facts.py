"""The detail pages in words: what is known of a VM or the host, why the rest is not, and what to do about it."""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from vmtop.actions.backup_guard import IO_ERROR
from vmtop.derive.frame import Frame
from vmtop.derive.metrics import Condition, HostMetrics, Level, UsedSource, VmMetrics
from vmtop.derive.words import duration_words, percent_words, rate_words, size_words
from vmtop.model.policy import DEFAULT_POLICY, Policy
from vmtop.model.sample import JobSample, KsmSample, Pressure, Sample, VmFacts, VmSample, VmState
from vmtop.viewmodel.columns import CONDITION_TONES, format_job, limit_words
from vmtop.viewmodel.formats import (
    cell_width,
    cut_line,
    format_count,
    format_times,
    line_width,
    safe_text,
    wrap_text,
)
from vmtop.viewmodel.summary import LEVEL_TONES
from vmtop.viewmodel.tone import Line, Span, Tone

if TYPE_CHECKING:
    from vmtop.actions.target import Target

_LABEL_CELLS = 17
_LEAST_TEXT_CELLS = 20
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")
"""A name that no shell and no virsh takes for anything but a name: virsh looks a number up as an id first."""


class _Fact(NamedTuple):
    """A label and what is to be said under it; facts without text are left out."""

    label: str
    text: str | None
    tone: Tone = Tone.NORMAL


class _Section(NamedTuple):
    title: str
    facts: Sequence[_Fact]


def build_vm_facts(
    frame: Frame, uuid: str, *, width: int = 80, has_unicode: bool = True, target: "Target | None" = None
) -> tuple[Line, ...]:
    """Everything known of one VM, in lines of at most `width` cells; one line that says so when it is gone.

    `target` is what was asked of its balloon, if anything was.
    """
    found = next((pair for pair in zip(frame.sample.vms, frame.vms, strict=True) if pair[0].uuid == uuid), None)
    if found is None:
        return ((Span("This VM is gone: the source does not list it any more.", Tone.NOTE),),)
    sample, vm = found
    writer = _Writer(width, has_unicode)
    writer.head(vm.name, vm.condition.value, CONDITION_TONES[vm.condition], vm.reason)
    writer.sections(
        (
            _Section("What to do", [*_stop_facts(sample), *_advice_facts(frame.sample, sample, vm)]),
            _Section("Memory", [*_target_facts(target, frame.sample), *_memory_facts(vm)]),
            _Section("Guest", _guest_facts(sample, vm)),
            _Section("Host", _process_facts(sample, vm)),
            _Section("Definition", _definition_facts(sample)),
            _Section("Jobs", [_job_fact(job) for job in vm.jobs]),
            _Section("Not known", [] if vm.condition is Condition.OFF else _missing_facts(vm.unknown)),
        )
    )
    return writer.lines


def build_host_facts(
    frame: Frame, *, width: int = 80, has_unicode: bool = True, policy: Policy = DEFAULT_POLICY
) -> tuple[Line, ...]:
    """Everything known of the host, in lines of at most `width` cells."""
    host, sample = frame.host, frame.sample
    word = "unknown" if host.level is None else host.level.word
    writer = _Writer(width, has_unicode)
    writer.head(host.name or sample.uri, word, LEVEL_TONES[host.level], host.cause)
    writer.sections(
        (
            _Section("Levels", _ladder_facts(host, policy)),
            _Section("Memory", _host_memory_facts(host)),
            _Section("Overcommit", _overcommit_facts(host)),
            _Section("Swap", _swap_facts(host)),
            _Section("Pressure", _pressure_facts(host.pressure)),
            _Section("Page sharing", _ksm_facts(host, sample.host.ksm)),
            _Section("Source", _source_facts(frame)),
            _Section("Not known", _missing_facts(host.unknown)),
        )
    )
    return writer.lines


class _Writer:
    """Sets sections into lines of at most `width` cells."""

    def __init__(self, width: int, has_unicode: bool) -> None:
        self._width = width
        self._has_unicode = has_unicode
        self._lines: list[Line] = []

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines so far."""
        return tuple(cut_line(line, self._width, self._has_unicode) for line in self._lines)

    def head(self, name: str, word: str, tone: Tone, reason: str) -> None:
        """What this is, how it is, and why; in one line where that fits."""
        shown, why = (safe_text(text, self._has_unicode) for text in (name, reason))
        line = (Span(shown, Tone.NAME), Span("  ", Tone.NORMAL), Span(word, tone), Span(f"  {why}", Tone.NORMAL))
        if line_width(line) <= self._width:
            self._lines.append(line)
        else:
            self._write(Span("", Tone.NORMAL), name, Tone.NAME)
            self._write(Span(f"{word}  ", tone), reason, Tone.NORMAL)

    def sections(self, sections: Iterable[_Section]) -> None:
        """Titles with their facts; what has none is left out."""
        for title, facts in sections:
            said = [fact for fact in facts if fact.text]
            if said:
                self._lines += [(), (Span(title, Tone.TITLE),)]
            for label, text, tone in said:
                shown = f"  {label:<{_LABEL_CELLS - 2}}" if label else "  "
                self._write(Span(shown, Tone.DIM), text or "", tone)

    def _write(self, left: Span, text: str, tone: Tone) -> None:
        """Text beside `left`; below it go on the lines that do not fit."""
        indent = cell_width(left.text)
        first, *more = wrap_text(safe_text(text, self._has_unicode), max(_LEAST_TEXT_CELLS, self._width - indent))
        self._lines.append((left, Span(first, tone)))
        self._lines += [(Span(" " * indent, Tone.NORMAL), Span(line, tone)) for line in more]


def _size(label: str, amount: int | None, more: str = "") -> _Fact:
    return _Fact(label, None if amount is None else f"{size_words(amount)}{more}")


def _target_facts(target: "Target | None", sample: Sample) -> list[_Fact]:
    if target is None:
        return []
    from vmtop.viewmodel.target import target_tone, target_words  # only where something was asked for

    return [_Fact("asked", target_words(target, sample.monotonic_s), target_tone(target))]


def _memory_facts(vm: VmMetrics) -> list[_Fact]:
    given = f"; {size_words(vm.ballooned_bytes)} given back to the host" if vm.ballooned_bytes else ""
    share = "" if vm.used_ratio is None else f", {percent_words(vm.used_ratio)} of the balloon"
    return [
        _size("maximum", vm.maximum_bytes),
        _size("balloon", vm.balloon_bytes, given),
        _size("used", vm.used_bytes, share + _USED_WORDS.get(vm.used_source, "")),
        _size("cache", vm.cache_bytes),
        _size("reclaimable", vm.reclaimable_bytes, " of cache can be dropped at once"),
        _size("free", vm.free_bytes),
        _size("untouched", vm.untouched_bytes, " never cost the host anything (an estimate)"),
    ]


_USED_WORDS: dict[UsedSource | None, str] = {
    UsedSource.CACHES: "; the guest does not tell what is usable, so this is balloon - free - cache",
    UsedSource.HOST: "; the guest tells nothing that counts, so this is what the host sees",
}


def _guest_facts(sample: VmSample, vm: VmMetrics) -> list[_Fact]:
    period = sample.facts.stats_period_s if sample.facts is not None else None
    every = f"; the guest sends them every {duration_words(period)}" if period else ""
    age = None if vm.guest_age_s is None else f"{duration_words(vm.guest_age_s)} old{every}"
    stale = "; stale: they count in no sum" if vm.is_stale else ""
    total = sample.guest.total_bytes if sample.guest is not None and age is not None else None
    return [
        _Fact("figures", f"{age}{stale}" if age else None, Tone.STALE if vm.is_stale else Tone.NORMAL),
        _size("kernel sees", total, " in all"),
        _rate("swap in", vm.guest_swap_in_bytes_per_s),
        _rate("swap out", vm.guest_swap_out_bytes_per_s),
        _count("major faults", vm.guest_major_faults_per_s),
    ]


def _rate(label: str, bytes_per_s: float | None) -> _Fact:
    return _Fact(label, None if bytes_per_s is None else rate_words(bytes_per_s))


def _count(label: str, per_s: float | None) -> _Fact:
    return _Fact(label, None if per_s is None else f"{format_count(per_s)} per second")


def _process_facts(sample: VmSample, vm: VmMetrics) -> list[_Fact]:
    qemu = sample.qemu
    profit = qemu.ksm_profit_bytes if qemu is not None else None
    merged = None if vm.ksm_merged_bytes is None else f"{size_words(vm.ksm_merged_bytes)} merged"
    saved = f", saves {size_words(vm.ksm_saved_bytes)} as its fair share" if vm.ksm_saved_bytes is not None else ""
    return [
        _size("resident", vm.rss_bytes, ", shared pages counted in full"),
        _size("huge pages", vm.hugetlb_bytes or None),
        _size("swapped", vm.host_swap_bytes, " in the host's swap"),
        _count("major faults", vm.host_major_faults_per_s),
        _Fact("shared", f"{merged}{saved}" if merged else None),
        _Fact("KSM profit", None if profit is None else f"{_signed_size(profit)}, the kept copies counted as saved"),
        *_pressure_facts(qemu.pressure if qemu is not None else None),
        _Fact("process", None if qemu is None else f"pid {qemu.pid}"),
        _Fact("cgroup", None if qemu is None else qemu.cgroup),
        _size("charged", vm.cgroup_bytes, " to the cgroup"),
        _size("its swap", qemu.cgroup_swap_bytes if qemu is not None else None, " charged to the cgroup"),
    ]


def _pressure_facts(pressure: Pressure | None) -> list[_Fact]:
    if pressure is None:
        return []
    some = (pressure.some_avg10_ratio, pressure.some_avg60_ratio, pressure.some_avg300_ratio)
    full = (pressure.full_avg10_ratio, pressure.full_avg60_ratio, pressure.full_avg300_ratio)
    return [
        _Fact(f"waits, {kind}", " / ".join(map(percent_words, ratios)) + " of 10 s / 1 min / 5 min")
        for kind, ratios in (("some", some), ("full", full))
    ]


def _definition_facts(sample: VmSample) -> list[_Fact]:
    because = f" ({sample.state_reason})" if sample.state_reason else ""
    number = f", libvirt's number {sample.domain_id}" if sample.domain_id is not None else ""
    return [
        _Fact("state", f"{sample.state.value}{because}{number}"),
        _Fact("uuid", sample.uuid),
        *([] if sample.facts is None else _device_facts(sample.facts)),
    ]


def _device_facts(facts: VmFacts) -> list[_Fact]:
    period = facts.stats_period_s
    told = "no figures: the statistics period is 0" if not period else f"figures every {duration_words(period)}"
    words = [
        told,
        *(["gives memory back to a guest that runs out (autodeflate)"] if facts.has_autodeflate else []),
        *(["frees pages that the guest frees (free page reporting)"] if facts.has_free_page_reporting else []),
    ]
    backing = [words for field, words in _BACKING_WORDS.items() if getattr(facts, field)]
    return [
        _Fact("balloon device", "; ".join(words) if facts.has_balloon else "none"),
        _size("virtio-mem", facts.virtio_mem_bytes or None, ", out of the balloon's reach"),
        *(_Fact("backing", words) for words in backing),
        _size("guaranteed", facts.min_guarantee_bytes),
    ]


_BACKING_WORDS = {
    "has_hugepages": "huge pages: never merged, never swapped, and ballooning gives nothing back",
    "has_nosharepages": "not to be merged by KSM",
    "is_locked": "locked: never swapped",
    "has_vfio": "pinned by a passed-through device: never swapped, and the balloon cannot give anything back",
}


def _job_fact(job: JobSample) -> _Fact:
    parts = [format_job(job)]
    if job.processed_bytes is not None and job.total_bytes is not None:
        parts.append(f"{size_words(job.processed_bytes)} of {size_words(job.total_bytes)}")
    parts += limit_words(job)
    if job.elapsed_s is not None:
        parts.append(f"runs for {duration_words(job.elapsed_s)}")
    return _Fact("", ", ".join(parts), Tone.NOTE)


def _missing_facts(unknown: Mapping[str, str]) -> list[_Fact]:
    """One entry for each reason, with the figures that it explains."""
    names: dict[str, list[str]] = {}
    for name, reason in unknown.items():
        names.setdefault(reason, []).append(_figure_words(name))
    return [_Fact("", f"{', '.join(dict.fromkeys(group))}: {reason}", Tone.UNKNOWN) for reason, group in names.items()]


_UNITS = ("_bytes_per_s", "_per_s", "_avg10_ratio", "_ratio", "_bytes", "_s")


def _figure_words(name: str) -> str:
    """The name of a figure without its unit: "host swap"."""
    unit = next((unit for unit in _UNITS if name.endswith(unit)), "")
    return name.removesuffix(unit).replace("_", " ")


_Applies = Callable[[VmSample, VmMetrics], bool]


def _is(condition: Condition) -> _Applies:
    return lambda _, vm: vm.condition is condition


_ROOT_ONLY = "readable by root only"
"""How a backend says that it lacks the permission."""

_ADVICE: tuple[tuple[_Applies, str], ...] = (
    (
        lambda sample, _: sample.facts is not None and sample.facts.stats_period_s == 0,
        "The key p has the guest send figures, and so does `{virsh} dommemstat {target} --period 5 --live`.",
    ),
    (
        _is(Condition.NO_BALLOON),
        "Give it a balloon device and start it anew: <memballoon model='virtio'/> below <devices> in "
        "`{virsh} edit {target}`.",
    ),
    (
        _is(Condition.NO_DRIVER),
        "Wait until the guest has booted. If nothing comes, its balloon driver is missing: virtio_balloon in Linux, "
        "the balloon driver and its service from virtio-win in Windows.",
    ),
    (
        _is(Condition.STALE),
        "See whether the guest still runs and, in Windows, whether the balloon service does.",
    ),
    (
        _is(Condition.HUNG),
        "See whether its storage answers: QEMU hangs when it waits for a dead disk or NFS server.",
    ),
    (
        _is(Condition.BUSY),
        "See which job holds it: `{virsh} domjobinfo {target}`.",
    ),
    (
        lambda _, vm: any(_ROOT_ONLY in reason for reason in vm.unknown.values()),
        "Some figures of the QEMU process are for root only: run vmtop with sudo to see them.",
    ),
)
"""When it applies, and what the operator can do to see more."""


def _stop_facts(sample: VmSample) -> list[_Fact]:
    if sample.state is not VmState.PAUSED or sample.state_reason != IO_ERROR:
        return []
    words = (
        "A disk of it, or the target of its backup, could not be written, most often for want of room. Make room; then "
        "j shows it among the jobs, and Enter there lets it go on."
    )
    return [_Fact("", words, Tone.HARD)]


def _advice_facts(source: Sample, sample: VmSample, vm: VmMetrics) -> list[_Fact]:
    if vm.condition is Condition.OFF:
        return []
    if source.is_simulated:
        has_no_period = sample.facts is not None and sample.facts.stats_period_s == 0
        return [_Fact("", "The key p has the guest send figures.")] if has_no_period else []
    virsh = f"virsh -c {shlex.quote(safe_text(source.uri))}"
    target = vm.name if _PLAIN_NAME.fullmatch(vm.name) else vm.uuid
    return [_Fact("", text.format(virsh=virsh, target=target)) for applies, text in _ADVICE if applies(sample, vm)]


def _ladder_facts(host: HostMetrics, policy: Policy) -> list[_Fact]:
    keep = host.min_free_bytes
    if keep is None:
        return []
    swap_in = "swap-in {}".format
    rungs = (
        (Level.WATCH, policy.watch_times, ()),
        (
            Level.SOFT,
            policy.soft_times,
            (
                f"PSI full {percent_words(policy.psi_soft_full_ratio)}",
                f"some {percent_words(policy.psi_soft_some_ratio)}",
                swap_in(rate_words(policy.swap_in_soft_bytes_per_s)),
            ),
        ),
        (
            Level.HARD,
            policy.hard_times,
            (
                f"PSI full {percent_words(policy.psi_hard_full_ratio)}",
                f"some {percent_words(policy.psi_hard_some_ratio)}",
                swap_in(rate_words(policy.swap_in_hard_bytes_per_s)),
            ),
        ),
        (Level.CRITICAL, policy.critical_times, (f"PSI full {percent_words(policy.psi_critical_full_ratio)}",)),
    )
    facts = [
        _size("keep free", keep, ": what a host of this size should have left"),
        _rung(Level.CALM, host.level, f"available above {size_words(policy.watch_times * keep)}"),
    ]
    for level, times, others in rungs:
        raised = f", or {', '.join(others)}" if others else ""
        facts.append(_rung(level, host.level, f"available below {size_words(times * keep)}{raised}"))
    return [*facts, _Fact("now", _distance(host, [(level, times * keep) for level, times, _ in rungs]))]


def _rung(level: Level, present: Level | None, text: str) -> _Fact:
    is_here = level is present
    return _Fact(f"{'> ' if is_here else ''}{level.word}", text, LEVEL_TONES[level] if is_here else Tone.NORMAL)


def _distance(host: HostMetrics, thresholds: Sequence[tuple[Level, float]]) -> str | None:
    """How far available memory is from the rungs above and below it."""
    available = host.available_bytes
    if available is None:
        return None
    words = [f"available {size_words(available)}"]
    passed = [(level, at) for level, at in thresholds if available < at]
    ahead = [(level, at) for level, at in thresholds if available >= at]
    if passed:
        level, at = passed[-1]
        words.append(f"{size_words(at - available)} below the threshold of {level.word}")
    if ahead:
        level, at = ahead[0]
        words.append(f"{size_words(available - at)} above that of {level.word}")
    return ", ".join(words)


def _host_memory_facts(host: HostMetrics) -> list[_Fact]:
    droppable = host.droppable_bytes
    pool = None
    if host.hugepages_total_bytes:
        free = "" if host.hugepages_free_bytes is None else f", {size_words(host.hugepages_free_bytes)} of it free"
        pool = f"{size_words(host.hugepages_total_bytes)} in the pool{free}"
    return [
        _size("total", host.total_bytes),
        _size("available", host.available_bytes, " without swapping"),
        _size("VMs", host.vms_bytes, f" held by {host.vms_running} running VMs of {host.vms_total}"),
        _size("other", host.other_bytes, ", neither VMs nor cache that can be dropped"),
        _size("droppable", droppable, " of cache: available less free"),
        _size("free", host.free_bytes),
        _size("cache", host.cache_bytes, " in all: page cache, buffers, reclaimable slab"),
        _Fact("huge pages", pool),
    ]


def _overcommit_facts(host: HostMetrics) -> list[_Fact]:
    ratios = (
        ("configured", host.overcommit_configured_ratio, ", if every running VM took its maximum"),
        ("current", host.overcommit_current_ratio, ", if every running VM filled its balloon"),
        ("resident", host.overcommit_resident_ratio, ", what VMs hold now"),
    )
    return [
        _Fact(label, f"{format_times(ratio)} of the host's memory{words}")
        for label, ratio, words in ratios
        if ratio is not None
    ]


def _swap_facts(host: HostMetrics) -> list[_Fact]:
    if host.swap_total_bytes == 0:
        return [_Fact("size", "none: when memory runs out, the kernel kills")]
    return [
        _size("size", host.swap_total_bytes),
        _size("used", host.swap_used_bytes, "; history, not a sign of trouble by itself"),
        _rate("in", host.swap_in_bytes_per_s),
        _rate("out", host.swap_out_bytes_per_s),
    ]


def _ksm_facts(host: HostMetrics, ksm: KsmSample | None) -> list[_Fact]:
    if ksm is None:
        return []
    running = {True: "merges pages now", False: "is stopped", None: None}[ksm.is_running]
    speed = None
    if ksm.pages_to_scan is not None and ksm.sleep_s is not None:
        speed = f"{ksm.pages_to_scan} pages, then a pause of {1000 * ksm.sleep_s:g} ms"
    unshared = None if ksm.pages_unshared is None else ksm.pages_unshared * ksm.page_bytes
    ratio = f", each kept page serves {1 + ksm.pages_sharing / ksm.pages_shared:.1f}" if ksm.pages_shared else ""
    return [
        _Fact("ksmd", running),
        _size("saved", host.ksm_saved_bytes),
        _size("kept", ksm.pages_shared * ksm.page_bytes, f" of shared pages{ratio}"),
        _Fact("profit", None if host.ksm_profit_bytes is None else _signed_size(host.ksm_profit_bytes)),
        _Fact("cost", None if host.ksm_cpu_ratio is None else f"{percent_words(host.ksm_cpu_ratio)} of one CPU"),
        _size("scanned", unshared, " in vain: unique"),
        _Fact("speed", speed),
        _Fact("full scans", None if ksm.full_scans is None else str(ksm.full_scans)),
        *(_Fact(name.replace("_", " "), value) for name, value in ksm.more.items()),
    ]


def _signed_size(amount: int) -> str:
    if amount >= 0:
        return f"{size_words(amount)} after bookkeeping"
    return f"-{size_words(-amount)}: bookkeeping costs more than sharing saves"


def _source_facts(frame: Frame) -> list[_Fact]:
    sample = frame.sample
    kind = "simulated: none of this is real" if sample.is_simulated else sample.backend
    place = "" if sample.is_local or sample.is_simulated else ", not this host: its /proc cannot be read from here"
    return [
        _Fact("connection", sample.uri),
        _Fact("source", f"{kind}{place}", Tone.SIMULATED if sample.is_simulated else Tone.NORMAL),
        _Fact("CPUs", None if sample.host.cpus is None else str(sample.host.cpus)),
        _Fact("reading took", f"{1000 * sample.read_s:.1f} ms"),
        *(_Fact("notice", notice, Tone.NOTE) for notice in sample.notices),
    ]
