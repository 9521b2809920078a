"""A frame without a screen: text like top's, CSV, and JSON, the interface that others build on.

All foreign text is harmless in each of them: JSON is pure ASCII with escapes; text and CSV replace what could act on a
terminal, and CSV quotes what a spreadsheet would take for a formula.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any

from vmtop.derive.frame import Frame
from vmtop.derive.metrics import Condition, HostMetrics, VmMetrics
from vmtop.derive.unknown import OFF
from vmtop.model.sample import JobSample, Pressure
from vmtop.viewmodel.columns import column, format_jobs
from vmtop.viewmodel.formats import format_time, safe_text
from vmtop.viewmodel.summary import build_summary
from vmtop.viewmodel.tone import Line
from vmtop.viewmodel.ui_state import UiState
from vmtop.viewmodel.vm_table import Order, build_table, select_rows

SCHEMA = 1
"""Grows when a name of the JSON output changes its meaning or goes; new names may come at any time."""

_HEAD_ROWS = 8
_HEAD_WIDTH = 120

_VM_FIELDS = ("name", *(each.name for each in fields(VmMetrics) if each.name not in {"name", "unknown"}))
_HOST_FIELDS = tuple(each.name for each in fields(HostMetrics) if each.name not in {"pressure", "unknown"})
_PRESSURE_FIELDS = {f"psi_{each.name}": each.name for each in fields(Pressure)}

_NO_REASON = "the source did not tell"


def format_text(frame: Frame, state: UiState, *, width: int | None = None) -> str:
    """The head and the table as plain text, ending in a newline; `width` None shows every column."""
    table = build_table(frame, state, Order(), width)
    shown = len(table.columns) if width is None else table.fitting
    head = build_summary(
        frame,
        None,
        state,
        width=width or _HEAD_WIDTH,
        rows=_HEAD_ROWS,
        now_monotonic_s=frame.sample.monotonic_s,
        source=frame.sample.uri,
    )
    rows = [table.header(), *map(table.row_spans, table.rows), table.totals()]
    lines = [f"vmtop {format_time(frame.sample.time_s)}", *map(_text, head), ""]
    if table.filter_error is not None:
        lines.append(f"all VMs are shown: {safe_text(table.filter_error, state.has_unicode)}")
    lines += ["".join(map(_text, row[:shown])) for row in rows]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _text(line: Line) -> str:
    return "".join(span.text for span in line)


def format_csv_header(state: UiState) -> str:
    """The line that names the columns of `format_csv`."""
    return ",".join(("time", *_csv_fields(state))) + "\n"


def format_csv(frame: Frame, state: UiState) -> str:
    """One line for each VM, in the state's order, filter and columns; what is not known is empty."""
    names = _csv_fields(state)
    rows, _ = select_rows(frame, state, Order())
    time = format_time(frame.sample.time_s)
    return "".join(f"{time},{','.join(_csv_cell(_csv_value(vm, name)) for name in names)}\n" for vm in rows)


def _csv_fields(state: UiState) -> tuple[str, ...]:
    if not state.columns:
        return _VM_FIELDS
    chosen = ["name", *(name for column_id in state.columns for name in column(column_id).fields)]
    return tuple(dict.fromkeys(chosen))


def _csv_value(vm: VmMetrics, name: str) -> object:
    return format_jobs(vm) if name == "jobs" else getattr(vm, name)


def _csv_cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(round(value, 6))
    if not isinstance(value, str):
        return str(value)
    text = safe_text(value)
    if text.startswith(("=", "+", "-", "@")):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"') else text


def format_json(frame: Frame, state: UiState) -> str:
    """The whole frame as one object on one line, VMs in the state's order and filter."""
    sample = frame.sample
    rows, _ = select_rows(frame, state, Order())
    whole = {
        "schema": SCHEMA,
        "time": format_time(sample.time_s),
        "backend": sample.backend,
        "uri": sample.uri,
        "simulated": sample.is_simulated,
        "read_s": round(sample.read_s, 6),
        "notices": list(sample.notices),
        "host": _host_object(frame.host),
        "vms": [_vm_object(vm) for vm in rows],
    }
    return json.dumps(whole, ensure_ascii=True, allow_nan=False, separators=(",", ":")) + "\n"


_read_vm = attrgetter(*_VM_FIELDS)
_read_host = attrgetter(*_HOST_FIELDS)


def _vm_object(vm: VmMetrics) -> dict[str, Any]:
    figures = dict(zip(_VM_FIELDS, _read_vm(vm), strict=True))
    figures["jobs"] = [_job_object(job) for job in vm.jobs]
    hung_reason = OFF if vm.condition is Condition.OFF else "QEMU does not hang"
    return _with_reasons(figures, {"hung_s": hung_reason, **vm.unknown})


def _job_object(job: JobSample) -> dict[str, Any]:
    figures = {
        "kind": job.kind,
        "elapsed_s": job.elapsed_s,
        "processed_bytes": job.processed_bytes,
        "total_bytes": job.total_bytes,
    }
    return _with_reasons(figures, {})


def _host_object(host: HostMetrics) -> dict[str, Any]:
    figures = dict(zip(_HOST_FIELDS, _read_host(host), strict=True))
    figures["level"] = None if host.level is None else host.level.word
    reasons = dict(host.unknown)
    if host.level is None:
        reasons.setdefault("level", host.cause)
    for name, field in _PRESSURE_FIELDS.items():
        figures[name] = None if host.pressure is None else getattr(host.pressure, field)
        reasons.setdefault(name, reasons.get("pressure", _NO_REASON))
    return _with_reasons(figures, reasons)


def _with_reasons(figures: dict[str, Any], reasons: Mapping[str, str]) -> dict[str, Any]:
    """The figures, and `unknown`: the reason of each null, and of nothing else."""
    unknown = {}
    for name, value in figures.items():
        if value is None:
            unknown[name] = reasons.get(name) or _NO_REASON
        elif isinstance(value, float):
            figures[name] = round(value, 6)
    figures["unknown"] = unknown
    return figures
