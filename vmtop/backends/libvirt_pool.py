"""Storage pools of a host whose folders cannot be seen from here: they tell how full its file systems are."""

from typing import Any

from vmtop.backends.libvirt_storage_parse import parse_pool_path
from vmtop.model.storage import PoolInfo

_ACTIVE_FOLDERS = 2 | 64 | 128 | 256
"""VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE, _DIR, _FS and _NETFS: pools of other types are no folders."""


def read_pools(connection: Any) -> tuple[PoolInfo, ...]:
    """Active pools that are folders, as libvirt remembers them; a read-only connection is enough.

    They are not refreshed: that would change what libvirt tells everybody, and read every image in them.

    Raises:
        libvirtError: this driver has no pools, they may not be seen, or one is gone meanwhile.
        ValueError: libvirt's XML cannot be read.
    """
    paths = ((pool, parse_pool_path(pool.XMLDesc(0))) for pool in connection.listAllStoragePools(_ACTIVE_FOLDERS))
    return tuple(PoolInfo(name=pool.name(), path=path, available_bytes=pool.info()[3]) for pool, path in paths if path)
