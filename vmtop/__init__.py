"""vmtop: a memory top for virtual machines.

Two one-way roads; the second one is still to be built. What is shown comes from nowhere but a sample:

    backend.read_sample() -> derive_frame(previous, sample, policy) -> build_*(frame, state) -> widgets draw
    backends/   I/O          derive/   pure                            viewmodel/   pure      tui/

The map, in reading order. Imports point up this list only; pyproject.toml holds that as contracts:

    errors, units        every exception of ours; bytes and how people write them
    model/               frozen values: what a backend read (`sample`), thresholds (`policy`), abilities, failures
    backends/            all I/O: libvirt, /proc and /sys, the simulated host; `registry` picks one by name
    derive/              pure arithmetic: rates, ages, metrics, conditions of VMs, the host's level, series
    config               TOML files and environment -> settings and policy
    pipeline             read, derive, publish: the loop under every front end
    viewmodel/           a frame in words: columns, table, summary, facts, help, plain text, CSV, JSON
    tui/                 the screen; the only folder that imports Textual
    cli                  arguments, and the only place where the parts are put together
"""

__version__ = "0.1.0"
