"""The menu of faults that can be injected where everything is simulated."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from vmtop.derive.words import duration_words
from vmtop.model.fault import FaultInfo
from vmtop.viewmodel.formats import cut_line
from vmtop.viewmodel.sheet import Head, Page, build_sheet, figure, make_page, word
from vmtop.viewmodel.tone import Line, Tone

_HEADS = (
    Head(title="FAULT", width=24, least=12),
    Head(title="LASTS", width=7, worth=1, is_left=False),
    Head(title="WHAT HAPPENS", width=200, least=20),
)


class FaultChoice(NamedTuple):
    """What a line of the menu stands for."""

    fault_id: str
    uuid: str | None
    """Of the VM to which it happens; None for the host."""


class FaultMenu(NamedTuple):
    """The menu, and what its keys stand for."""

    page: Page
    choices: Mapping[str, FaultChoice]


def build_faults(
    faults: Sequence[FaultInfo], uuid: str | None, name: str, *, width: int, has_unicode: bool
) -> FaultMenu:
    """What can be made to happen to a VM and to the host, in lines of at most `width` cells.

    Args:
        faults: What there is.
        uuid: Of the VM that was chosen; None leaves its faults out.
        name: Of that VM.
        width: Cells of a line.
        has_unicode: Characters beyond ASCII may be used.
    """
    page: list[tuple[Line, str | None]] = []
    choices: dict[str, FaultChoice] = {}
    for is_for_vm, title in ((True, f"TO {name}"), (False, "TO THE HOST")):
        found = [fault for fault in faults if fault.is_for_vm is is_for_vm]
        if not found or (is_for_vm and uuid is None):
            continue
        rows = [
            (
                figure(fault.fault_id, Tone.NAME),
                figure(duration_words(fault.lasts_s) if fault.lasts_s else "once", Tone.DIM),
                word(fault.sentence, has_unicode=has_unicode),
            )
            for fault in found
        ]
        head, lines = build_sheet(_HEADS, rows, width, has_unicode)
        if page:
            page.append(((), None))
        page += [(cut_line(word(title, Tone.TITLE, has_unicode=has_unicode), width, has_unicode), None), (head, None)]
        for line, fault in zip(lines, found, strict=True):
            choices[fault.fault_id] = FaultChoice(fault.fault_id, uuid if is_for_vm else None)
            page.append((line, fault.fault_id))
    return FaultMenu(make_page(page), MappingProxyType(choices))
