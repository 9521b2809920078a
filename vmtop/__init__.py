"""vmtop: a memory top for virtual machines.

Two one-way roads. What is shown comes from nowhere but a sample, and nothing is changed but through the guard:

    backend.read_sample() -> derive_frame(previous, sample, policy) -> build_*(frame, state) -> widgets draw
    backends/   I/O          derive/   pure                            viewmodel/   pure      tui/

    key or argument -> command -> guard -> audit "started" -> control -> audit outcome; the next sample shows it
    tui/, cli          actions/   pure     actions/           backends/

The map, in reading order. Imports point up this list only; pyproject.toml holds that as contracts:

    errors, units        every exception of ours; how many bytes a unit has
    wording              hints for mistyped words
    model/               frozen values: what a backend read (`sample`), disks, snapshots, checkpoints and folders to
                         write into (`storage`), what lies in a backup folder (`recovery`), thresholds (`policy`),
                         abilities, failures
    backends/            all I/O. `base` is the contract of reading and of acting. libvirt: `deadline` (threads that may
                         be abandoned), `libvirt_link` (connections), `libvirt_events`, `libvirt_bulk` (one call for all
                         VMs), `libvirt_survey` (jobs and definitions, between samples), `libvirt_parse` (pure),
                         `libvirt_vm` and `libvirt_host` (rows and host of a sample), `libvirt_read` (the backend),
                         `libvirt_look` (what somebody looks at: disks, snapshots; read-only, apart from the samples),
                         `libvirt_control` (acts, on a connection of its own); `procfs_*` (/proc and /sys);
                         `folder` (where something is to be written), `file_space` (room there); `backup_folder` and
                         `qemu_image` (recovery points); `simulator/`
    derive/              pure arithmetic: `frame` ties together `vm`, `guest`, `rates`, `condition`, `host`, `levels`,
                         `job` and `overview` (sums, who is in trouble); `series` keeps the last values for charts;
                         `recovery` tells which backups make a chain
    config               TOML files and environment -> settings and policy
    actions/             the only way to change anything: `command` (what can be asked), `guard` (whether it may be),
                         `audit` (who did what), `alive` (what of it goes on), `runner` (does it), `ledger` (what a
                         later run has to see to)
    pipeline             read, derive, publish: the loop under every front end
    viewmodel/           a frame in words: columns, table, summary, facts, charts, help, plain text, CSV, JSON
    batch                output without a screen
    command_line/        actions without a screen: `vmtop balloon VM SIZE` and its like
    tui/                 the screen; the only folder that imports Textual and plotext
    cli                  arguments, and the only place where the parts are put together
"""

__version__ = "0.1.0"
