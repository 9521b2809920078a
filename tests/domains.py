"""Files for libvirt's own test driver."""

from pathlib import Path

_DOMAIN = """
<domain type="test">
  <test:runstate>{state}</test:runstate>
  <name>domain-{number:04}</name>
  <uuid>00000000-0000-4000-8000-{number:012}</uuid>
  <memory unit="KiB">{memory}</memory>
  <currentMemory unit="KiB">{current}</currentMemory>
  <vcpu>1</vcpu>
  <os><type>hvm</type></os>
  <devices>
    <memballoon model="virtio"><stats period="5"/></memballoon>
  </devices>
</domain>
"""


def write_test_domains(folder: Path, *, count: int) -> str:
    """Write a host with `count` domains (eight of ten run, one is paused, one is shut off).

    Returns:
        The URI that opens it.
    """
    states = (1, 1, 1, 1, 1, 1, 1, 1, 3, 5)
    domains = "".join(
        _DOMAIN.format(state=states[number % 10], number=number, memory=1048576, current=524288 + number)
        for number in range(count)
    ).replace('<domain type="test">', '<domain type="test" xmlns:test="http://libvirt.org/schemas/domain/test/1.0">')
    path = folder / f"host-{count}.xml"
    path.write_text(f"<node>{domains}</node>")
    return f"test://{path}"
