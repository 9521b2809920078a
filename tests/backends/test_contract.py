from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.contract import LookingOnly, check_contract, check_storage
from tests.domains import write_test_domains
from vmtop.backends.base import Backend
from vmtop.backends.clock import SystemClock
from vmtop.backends.simulator.backend import SimulatorBackend
from vmtop.errors import BackendError, ControlError

NO_BINDING = "no libvirt binding: .venv/bin/pip install -e '.[libvirt]' (needs gcc, pkg-config and libvirt's headers)"


def _open(kind: str, folder: Path) -> Backend:
    if kind == "simulator":
        return SimulatorBackend(clock=SystemClock())
    pytest.importorskip("libvirt", reason=NO_BINDING)
    from vmtop.backends.libvirt_read import LibvirtBackend

    return LibvirtBackend("test:///default" if kind == "test driver" else write_test_domains(folder, count=1000))


@pytest.fixture
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    backend = _open(request.param, tmp_path)
    yield backend
    backend.close()


@pytest.mark.parametrize(
    ("backend", "least_vms"),
    [("simulator", 12), ("test driver", 1), ("1000 test domains", 1000)],
    indirect=["backend"],
)
def test_every_backend_keeps_the_contract(backend: Backend, least_vms: int) -> None:
    check_contract(backend, least_vms=least_vms)


@pytest.mark.parametrize("backend", ["simulator", "test driver"], indirect=True)
def test_a_closed_backend_reads_no_more_and_can_be_closed_twice(backend: Backend) -> None:
    backend.read_sample()
    for _ in range(2):
        backend.close()
        with pytest.raises(BackendError, match="was closed"):
            backend.read_sample()


@pytest.mark.parametrize("backend", ["simulator", "test driver", "1000 test domains"], indirect=True)
def test_every_backend_tells_of_storage(backend: Backend) -> None:
    check_storage(backend)


def _refuse_control() -> NoReturn:
    raise AssertionError("a control was opened")


@pytest.mark.parametrize("kind", ["simulator", "test driver"])
def test_storage_is_told_where_nothing_can_be_changed(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend: Backend = _open(kind, tmp_path)
    if kind == "test driver":
        import libvirt

        from vmtop.backends.libvirt_read import LibvirtBackend

        backend = LibvirtBackend(backend.uri, binding=LookingOnly(libvirt))
        with pytest.raises(AssertionError, match="was opened for writing"):
            backend.open_control().resume("anybody")
    monkeypatch.setattr(backend, "open_control", _refuse_control)
    check_storage(backend)
    backend.close()


@pytest.mark.parametrize("backend", ["simulator", "test driver"], indirect=True)
def test_a_closed_backend_tells_of_no_storage(backend: Backend) -> None:
    uuid = backend.read_sample().vms[0].uuid
    backend.close()
    with pytest.raises(ControlError, match="was closed"):
        backend.read_storage(uuid)
