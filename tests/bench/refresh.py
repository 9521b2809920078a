"""CPU and bytes for one refresh of a 200x50 screen, reading and deriving left out."""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.terminal_rig import TerminalRig

STEPS = 40
ROUNDS = 3
SIZES = (100, 1_000, 10_000)


def measure() -> Iterator[str]:
    """Refresh tables of different sizes in turns."""
    cpu_ms: dict[int, list[float]] = {size: [] for size in SIZES}
    sent: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in range(ROUNDS):
        for size in SIZES:
            result = run_canned("table", size)
            cpu_ms[size].append(result["cpu_ms"])
            sent[size].append(result["bytes"])
    small = median(cpu_ms[SIZES[0]])
    for size in SIZES:
        ms, size_bytes = median(cpu_ms[size]), median(sent[size])
        yield f"{size:6} VMs: {ms:5.1f} ms CPU ({ms / small:.2f} x that of {SIZES[0]}), {size_bytes / 1024:5.1f} KiB"
    ratio, kib = median(cpu_ms[SIZES[-1]]) / small, max(median(each) for each in sent.values()) / 1024
    yield f"to reach: {SIZES[-1]} at most 2 x {SIZES[0]}: {ratio:.2f} x; at most 5 KiB a second at 1 s: {kib:.1f} KiB"


def run_canned(page: str, vms: int, columns: int = 200, rows: int = 50) -> dict[str, float]:
    """Let `tests.bench.canned` refresh one page in a terminal of its own.

    Returns:
        Medians per refresh: cpu_ms, and bytes that the terminal got.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "tests.bench.canned", page, str(vms), str(STEPS), str(report)]
        with TerminalRig(command, columns=columns, rows=rows) as rig:
            code = rig.wait_exit(seconds=120)
        if code != 0:
            sys.exit(f"bench: {' '.join(command)} ended with {code}")
        result: dict[str, float] = json.loads(report.read_text())
        return result
