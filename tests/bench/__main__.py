"""What vmtop costs: `python -m tests.bench [refresh] [start] [read] [simulator]`.

Prints medians and ratios, each with what is to be reached. A machine that does other work too makes single times
worthless, and ratios of things that were measured in turns still right.
"""

import argparse
import importlib
import sys

PARTS = ("start", "refresh", "charts", "derive", "simulator", "read")


def main() -> int:
    """Run the parts that were asked for, in order."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of: {', '.join(PARTS)} (default: all)")
    chosen = parser.parse_args().parts or PARTS
    unknown = set(chosen) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    for part in chosen:
        module = importlib.import_module(f"tests.bench.{part}")
        print(f"\n== {part}: {(module.__doc__ or '').splitlines()[0]}", flush=True)
        for line in module.measure():
            print(f"   {line}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
