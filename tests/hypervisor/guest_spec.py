"""What a guest is to be, and libvirt's XML for it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from xml.sax.saxutils import escape, quoteattr

COMMAND_LINE_BYTES: Final = 2047
"""What a kernel for x86 reads; it would silently drop the rest."""

INIT_ARGUMENTS: Final = 32
"""How many a kernel hands to its first process."""

AGENT_XML: Final = """<channel type="unix"><target type="virtio" name="org.qemu.guest_agent.0"/></channel>"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hog:
    """A process in the guest that holds memory."""

    mib: int
    """How much."""

    content: Literal["zero", "same", "random"] = "same"
    """Zeros; pages that differ from each other but are the same in every guest, so that the host can merge and zram
    compress them; or pages that nobody can merge or compress."""

    touch_every_s: float | None = None
    """How often it writes to every page, without changing its content. None: never, so that the host can merge them."""

    @property
    def order(self) -> str:
        """The order that starts it."""
        milliseconds = 0 if self.touch_every_s is None else max(1, round(self.touch_every_s * 1000))
        return f"hog {self.mib} {self.content} {milliseconds}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSpec:
    """A guest to start. The kernel keeps about 35 MiB for itself; below 80 MiB it does not come up."""

    name: str
    """libvirt's name; any that libvirt takes."""

    memory_mib: int = 128
    """Maximum memory."""

    current_mib: int | None = None
    """Memory left after the balloon was inflated, as soon as the guest's driver is there. None: all."""

    balloon: Literal["virtio", "none"] = "virtio"
    """The balloon device."""

    has_balloon_driver: bool = True
    """Whether the guest loads the driver for it. Later: `guest.order("load virtio_balloon")`."""

    stats_period_s: int | None = 1
    """How often QEMU asks the driver for the guest's figures. None: never, libvirt's default."""

    hog: Hog | None = None
    """Memory held by a process."""

    swap_mib: int = 0
    """Swap of the guest, on zram. Content that does not compress needs as much memory there."""

    disk_mib: int = 0
    """Size of a qcow2 disk, vda. 0: none, unless cache or dirtying needs one."""

    disk_content_mib: int = 0
    """How much of the disk holds data, though no file system, before the guest starts."""

    has_agent: bool = False
    """A channel for QEMU's guest agent, which `guest.order("agent")` starts, and for it to freeze: a mounted disk with
    ext4, whose journal tells whether it was."""

    cache_mib: int = 0
    """Clean page cache: a file on the disk that was written and synced."""

    dirty_mib_per_s: int = 0
    """How much of the disk is written each second, over and over the same blocks."""

    paused: bool = False
    """Start it paused, so that it does not run a single instruction."""

    boots: bool = True
    """False: an empty machine without kernel and consoles, the cheapest that libvirt knows; for paused ones."""

    truth_every_s: float = 1.0
    """How often the guest reports."""

    orders: tuple[str, ...] = ()
    """Further orders after those that follow from the above, see `inside/init`."""

    domain_xml: str = field(default="", repr=False)
    """More XML in `<domain>`, such as `<memoryBacking><nosharepages/></memoryBacking>`."""

    devices_xml: str = field(default="", repr=False)
    """More XML in `<devices>`."""

    @property
    def needed_disk_mib(self) -> int:
        """Size of the disk, or 0 for none."""
        file_mib = self.cache_mib + self.dirty_mib_per_s
        with_file_system_mib = file_mib and file_mib * 11 // 10 + 16
        return max(self.disk_mib, self.disk_content_mib) or with_file_system_mib

    @property
    def first_orders(self) -> tuple[str, ...]:
        """What the guest is told to do when it boots."""
        if not self.boots:
            return ()
        wanted = (
            (True, f"report {self.truth_every_s:g}"),
            (self.balloon == "virtio" and self.has_balloon_driver, "load virtio_balloon"),
            (self.swap_mib, f"swap {self.swap_mib}"),
            (self.has_agent, "mount -t ext4 /dev/vda /disk"),
            (self.cache_mib, f"cache {self.cache_mib}"),
            (self.hog, self.hog.order if self.hog else ""),
            (self.dirty_mib_per_s, f"dirty {self.dirty_mib_per_s}"),
        )
        return (*(order for condition, order in wanted if condition), *self.orders)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFiles:
    """Where things of one guest lie on the host; QEMU makes all but the kernel, the initramfs and the disk."""

    kernel: Path
    initramfs: Path
    pid: Path
    folder: Path

    @property
    def console(self) -> Path:
        """What the kernel says, and what orders print to standard output and error."""
        return self.folder / "console"

    @property
    def records(self) -> Path:
        """What `inside/init` reports."""
        return self.folder / "records"

    @property
    def orders(self) -> Path:
        """The socket that takes orders."""
        return self.folder / "orders"

    @property
    def disk(self) -> Path:
        """The qcow2 image, if the guest has a disk."""
        return self.folder / "disk.qcow2"


def build_domain_xml(spec: GuestSpec, files: GuestFiles) -> str:
    """Describe the guest to libvirt.

    Raises:
        ValueError: the guest's kernel cannot take that many or such orders.
    """
    current_mib = spec.memory_mib if spec.current_mib is None else spec.current_mib
    period = "" if spec.stats_period_s is None else f"<stats period='{spec.stats_period_s}'/>"
    return f"""\
<domain type="qemu">
  <name>{escape(spec.name)}</name>
  <memory unit="MiB">{spec.memory_mib}</memory>
  <currentMemory unit="MiB">{current_mib}</currentMemory>
  <vcpu>1</vcpu>
  <os><type arch="x86_64" machine="pc">hvm</type>{_build_boot_xml(spec, files)}</os>
  <features><acpi/><tcg><tb-cache unit="MiB">32</tb-cache></tcg></features>
  {spec.domain_xml}
  <devices>
    <controller type="usb" model="none"/>
    <memballoon model="{spec.balloon}">{period if spec.balloon == "virtio" else ""}</memballoon>
    {_build_consoles_xml(files) if spec.boots else ""}
    {_build_disk_xml(files) if spec.needed_disk_mib else ""}
    {AGENT_XML if spec.has_agent else ""}
    {spec.devices_xml}
  </devices>
</domain>
"""


def _build_boot_xml(spec: GuestSpec, files: GuestFiles) -> str:
    if not spec.boots:
        return ""
    orders = spec.first_orders
    if bad := [order for order in orders if '"' in order or not order.isprintable()]:
        raise ValueError(f"a kernel's command line cannot hold {bad}; send it with guest.order()")
    line = " ".join(
        ["console=ttyS0", "quiet", "tsc=unstable", "clocksource=hpet", "--", *(f'"{order}"' for order in orders)]
    )
    if len(line.encode()) > COMMAND_LINE_BYTES or len(orders) >= INIT_ARGUMENTS:
        raise ValueError(f"too many orders for a kernel's command line: {len(orders)}, {len(line.encode())} bytes")
    return f"""
    <kernel>{escape(str(files.kernel))}</kernel>
    <initrd>{escape(str(files.initramfs))}</initrd>
    <cmdline>{escape(line)}</cmdline>
  """


def _build_consoles_xml(files: GuestFiles) -> str:
    # The orders have a port of their own: what a guest writes to a socket that is read slowly is written twice in the
    # socket's log. And an interrupt of their own: by default the third port shares that of the first.
    return f"""
    <serial type="file"><source path={quoteattr(str(files.console))}/></serial>
    <serial type="file"><source path={quoteattr(str(files.records))} append="on"/></serial>
    <serial type="unix">
      <source mode="bind" path={quoteattr(str(files.orders))}/>
      <address type="isa" iobase="0x3e8" irq="0x5"/>
    </serial>
"""


def _build_disk_xml(files: GuestFiles) -> str:
    return f"""
    <disk type="file" device="disk">
      <driver name="qemu" type="qcow2"/>
      <source file={quoteattr(str(files.disk))}/>
      <target dev="vda" bus="virtio"/>
    </disk>
"""
