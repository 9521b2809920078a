"""A simulated KVM host: the backend of `vmtop --demo`.

One file for each phenomenon, in reading order:

    dice           randomness without memory, by hashing
    plan           what is fixed about guests and host
    error          errors in the words of libvirt
    fleet          sampling of guests and their names
    workload       what the programs of a guest want
    pressure       the kernel's averages of waiting
    disk           the disk of one guest: what it writes, and what that leaves dirty
    storage        the disks of the host, which guests, swap and jobs share
    job            what jobs have in common, and their turn each second
    flaw           what faults leave on a guest
    guest          the memory of one guest
    ksm            page sharing
    host           the memory of the host
    reclaim        memory that runs short, in guests and on the host: page cache, swap, OOM killer
    backing        what guest memory costs the host; the gate when it has none left; free page reporting
    balloon        the balloon moves
    store          where backups go, and the recovery points there
    backup         backups: what they read, send and keep, and what they cost
    snapshot_tree  the snapshots of a guest: what stands on what
    snapshot       snapshots: taken, deleted, gone back to
    migration      a guest leaves for another host while it runs
    stall          waiting: what guests lose to disks and host
    report         what a guest tells through its balloon driver
    history        how a world begins
    world          host and guests, second by second
    admin          what an operator did before the first picture
    schedule       backups and snapshots at their times
    foreign        a balancer of somebody else
    fault          what goes wrong
    script         when it does, and for how long
    shared         one world for several threads
    inject         faults by hand
    scenario       the named worlds of `vmtop --demo list`
    publish        the world as libvirt and /proc would show it
    command        what libvirt does with commands
    control        commands from other threads
    backend        the clock, and the `Backend` contract

Amounts are whole pages of 4 KiB and a tick is one second, so nothing is ever lost by rounding.
"""
