"""vmtop: a memory top for virtual machines.

Two one-way roads; the second one is still to be built. What is shown comes from nowhere but a sample:

    backend.read_sample() -> derive_frame(previous, sample, policy) -> build_*(frame, state) -> widgets draw
    backends/   I/O          derive/   pure                            viewmodel/   pure      tui/

The map, in reading order. Imports point up this list only; pyproject.toml holds that as contracts:

    errors, units        every exception of ours; how many bytes a unit has
    wording              hints for mistyped words
    model/               frozen values: what a backend read (`sample`), thresholds (`policy`), abilities, failures
    backends/            all I/O. `base` is the contract. libvirt: `deadline` (threads that may be abandoned),
                         `libvirt_link` (connections), `libvirt_events`, `libvirt_bulk` (one call for all VMs),
                         `libvirt_survey` (jobs and definitions, between samples), `libvirt_parse` (pure), `libvirt_vm`
                         and `libvirt_host` (rows and host of a sample), `libvirt_read` (the backend); `procfs_*` (/proc
                         and /sys); `simulator/`
    derive/              pure arithmetic: `frame` ties together `vm`, `guest`, `rates`, `condition`, `host`, `levels`
                         and `overview` (sums, who is in trouble); `series` keeps the last values for charts
    config               TOML files and environment -> settings and policy
    pipeline             read, derive, publish: the loop under every front end
    viewmodel/           a frame in words: columns, table, summary, facts, charts, help, plain text, CSV, JSON
    batch                output without a screen
    tui/                 the screen; the only folder that imports Textual and plotext
    cli                  arguments, and the only place where the parts are put together
"""

__version__ = "0.1.0"
