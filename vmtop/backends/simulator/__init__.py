"""A simulated KVM host: the backend of `vmtop --demo`.

One file for each phenomenon, in reading order:

    dice        randomness without memory, by hashing
    plan        what is fixed about guests and host
    fleet       sampling of guests and their names
    workload    what the programs of a guest want
    pressure    the kernel's averages of waiting
    guest       the memory of one guest
    storage     the disks that guests, swap and backups share
    ksm         page sharing
    host        the memory of the host
    reclaim     memory that runs short, in guests and on the host: page cache, swap, OOM killer
    backing     what guest memory costs the host; the gate when it has none left; free page reporting
    balloon     the balloon moves
    backup      backups and snapshots as jobs
    stall       waiting: what guests lose to disks and host
    report      what a guest tells through its balloon driver
    history     how a world begins
    world       host and guests, second by second
    admin       what an operator did before the first picture
    schedule    backups and snapshots at their times
    fault       what goes wrong
    scenario    the named worlds of `vmtop --demo list`
    publish     the world as libvirt and /proc would show it
    backend     the clock, and the `Backend` contract

Amounts are whole pages of 4 KiB and a tick is one second, so nothing is ever lost by rounding.
"""
