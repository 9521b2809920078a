"""CPU and bytes for one refresh of the page of a VM, facts and charts."""

from collections.abc import Iterator
from statistics import median

from tests.bench.refresh import run_canned

ROUNDS = 3


def measure() -> Iterator[str]:
    """Refresh the page at the usual sizes of a terminal."""
    for columns, rows in ((80, 24), (120, 40), (200, 50)):
        results = [run_canned("charts", 100, columns, rows) for _ in range(ROUNDS)]
        cpu_ms, sent = (median(result[key] for result in results) for key in ("cpu_ms", "bytes"))
        yield f"{columns}x{rows}: {cpu_ms:5.1f} ms CPU, {sent / 1024:.1f} KiB"
