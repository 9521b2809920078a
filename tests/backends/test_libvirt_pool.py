"""Storage pools of hosts that cannot be seen, on stand-ins and on libvirt's test driver."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.backends.fake_libvirt import FakeError
from vmtop.backends.libvirt_pool import read_pools
from vmtop.backends.libvirt_read import LibvirtBackend
from vmtop.backends.libvirt_storage import _StorageReader
from vmtop.model.storage import PoolInfo
from vmtop.units import GIB


class Pool:
    """One pool; `code` is why it does not answer."""

    def __init__(self, path: str | None, code: int | None = None) -> None:
        target = "" if path is None else f"<target><path>{path}</path></target>"
        self._xml = f"<pool type='dir'>{target}</pool>"
        self._code = code

    def name(self) -> str:
        return "<images>"

    def info(self) -> list[int]:
        if self._code is not None:
            raise FakeError(self._code, "no")
        return [2, 100 * GIB, 60 * GIB, 40 * GIB]

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802 - the names are libvirt's
        return self._xml


def connect(*pools: Pool, code: int | None = None) -> Any:
    def list_pools(flags: int) -> list[Pool]:
        assert flags == 2 | 64 | 128 | 256, "active folders, and no volume groups or disks"
        if code is not None:
            raise FakeError(code, "no")
        return list(pools)

    return SimpleNamespace(listAllStoragePools=list_pools)


def test_pools_that_are_folders_tell_what_is_free() -> None:
    pools = read_pools(connect(Pool("/srv/a &amp; b"), Pool(None)))
    assert pools == (PoolInfo(name="<images>", path="/srv/a & b", available_bytes=40 * GIB),)


@pytest.mark.parametrize("connection", [connect(code=3), connect(code=88), connect(Pool("/a"), Pool("/b", 49))])
def test_pools_that_are_not_there_or_may_not_be_seen_do_not_keep_anybody_from_acting(connection: Any) -> None:
    reader = _StorageReader(SimpleNamespace(libvirtError=FakeError), None, "remote host")
    assert reader.read_pools(connection) == ()
    assert reader.unknown == {"pools": "libvirt does not tell of storage pools: no"}


def test_the_test_driver_has_a_pool() -> None:
    pytest.importorskip("libvirt")
    backend = LibvirtBackend("test:///default")
    try:
        (vm,) = backend.read_sample().vms
        (pool,) = backend.read_storage(vm.uuid).pools
        assert (pool.name, pool.path) == ("default-pool", "/default-pool")
        assert pool.available_bytes == 100 * GIB
    finally:
        backend.close()
